"""What there is of one service in this cluster. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from clustermesh_operator import derived
from clustermesh_operator.snapshot import Snapshot
from k8s.core import Service
from k8s.multicluster import ServiceExport, ServiceImport
from k8s.share import Invalid, problem
from mesh.mcs import derived_name


@dataclass(frozen=True, slots=True)
class Known:
    """`exported`: the Service, when it can be exported; `behind`: the
    derived Service of this very import; `is_taken`: that name is another Service's."""

    key: str
    is_global: bool
    export: ServiceExport | None
    invalid: Invalid | None
    exported: Service | None
    current: ServiceImport | None
    behind: Service | None
    is_taken: bool

    @property
    def derived_key(self) -> str:
        namespace, _, name = self.key.partition("/")
        return f"{namespace}/{derived_name(namespace, name)}"


def known(snapshot: Snapshot, key: str) -> Known:
    """Of namespace/name, in a namespace that is there."""
    namespace, _, name = key.partition("/")
    is_global = snapshot.is_global(snapshot.namespaces[namespace])
    export, service = snapshot.exports.get(key), snapshot.services.get(key)
    current = snapshot.imports.get(key)
    invalid = problem(service, is_global=is_global) if export else None
    behind = snapshot.services.get(f"{namespace}/{derived_name(namespace, name)}")
    is_ours = bool(current and behind and derived.is_derived(behind, current))
    return Known(
        key,
        is_global,
        export,
        invalid,
        service if export and invalid is None else None,
        current,
        behind if is_ours else None,
        behind is not None and not is_ours,
    )
