"""What is known at one moment, here and of the other clusters. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from k8s.core import Namespace, Service
from k8s.discovery import EndpointSlice
from k8s.multicluster import ServiceExport, ServiceImport
from k8s.share import is_global_namespace
from mesh import serviceexport
from mesh.service import GlobalService


@dataclass(frozen=True, slots=True)
class Remote:
    """One other cluster's exports, and its services, by namespace/name. `is_listed`: that is all it has."""

    exports: Mapping[str, serviceexport.ServiceExport] = field(default_factory=dict)
    services: Mapping[str, GlobalService] = field(default_factory=dict)
    is_listed: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """`ip_families`: those that Services of this cluster can have. `endpoint_sync`: other clusters'
    backends become EndpointSlices."""

    cluster: str
    ip_families: tuple[str, ...] = ("IPv4",)
    default_global_namespace: bool = True
    endpoint_sync: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything by its key. Local objects are complete, or there is no snapshot."""

    settings: Settings
    namespaces: Mapping[str, Namespace] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    slices: Mapping[str, EndpointSlice] = field(default_factory=dict)
    exports: Mapping[str, ServiceExport] = field(default_factory=dict)
    imports: Mapping[str, ServiceImport] = field(default_factory=dict)
    remotes: Mapping[str, Remote] = field(default_factory=dict)

    def is_global(self, namespace: Namespace) -> bool:
        said = is_global_namespace(namespace.metadata.annotations)
        return self.settings.default_global_namespace if said is None else said

    def is_held(self, item: ServiceImport, *, is_exported: bool) -> bool:
        """Whether it may rest on what a cluster said that has not spoken yet: then it stays as it is.

        One that does not say on whom it rests was made a moment ago: it may go on, and only may not go.
        """
        silent = {name for name, remote in self.remotes.items() if not remote.is_listed}
        said = {entry.cluster for entry in item.status.clusters}
        return bool(silent & said) if said else bool(silent) and not is_exported
