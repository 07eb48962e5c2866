"""One other cluster's ServiceExports and services: a `Sink` for `peering.peer`. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clustermesh_operator.snapshot import Remote
from kvstore.watch import Delta
from mesh import service, serviceexport
from mesh.addressing import ClusterID, PeerScope
from mesh.clusterconfig import ENDPOINTSLICES_ONLY, ClusterConfig
from mesh.keys import Kind
from peering.imports import Import
from peering.refusals import Refusals

log = logging.getLogger(__name__)


def read_kinds(remote: ClusterConfig, *, endpoint_sync: bool = False) -> tuple[Kind, ...]:
    """Only what is needed here, of clusters that have it."""
    kinds = [] if remote.service_exports_enabled is None else [Kind.SERVICEEXPORTS]
    if endpoint_sync and remote.endpoint_slices_export_mode != ENDPOINTSLICES_ONLY:
        kinds.append(Kind.SERVICES)
    return tuple(kinds)


class RemoteExports:
    """`changed` is called whenever `value` may be another one."""

    def __init__(self, name: str, changed: Callable[[], None]) -> None:
        self.name = name
        self._changed = changed
        self._imports: dict[Kind, Import[Any]] = {
            Kind.SERVICEEXPORTS: Import(serviceexport.decode, serviceexport.admit),
            Kind.SERVICES: Import(service.decode, service.admit),
        }
        self._values: dict[Kind, dict[str, Any]] = {kind: {} for kind in self._imports}
        self._listed: set[Kind] = set()
        self._refusals = Refusals()

    @property
    def value(self) -> Remote:
        exports, services = self._values[Kind.SERVICEEXPORTS], self._values[Kind.SERVICES]
        return Remote(exports, services, is_listed=self._listed.issuperset(self._imports))

    def begin(self, _remote: ClusterConfig, kinds: Sequence[Kind]) -> None:
        for kind in self._imports.keys() - set(kinds):  # there is nothing of it: that is all of it
            self._forget(kind)
            self._listed.add(kind)
        self._changed()

    def held(self, kind: Kind) -> Mapping[bytes, bytes]:
        return self._imports[kind].held

    def apply(self, kind: Kind, delta: Delta, scope: PeerScope) -> None:
        accepted = self._imports[kind].apply(delta, scope)
        for error in accepted.refusals:
            self.refused(error.key, f"{kind.name.lower()}: {error.reason}")
        self._values[kind].update(accepted.upserts)
        for key in accepted.removes:
            self._values[kind].pop(key, None)
        self._changed()

    def listed(self, kind: Kind, _cluster_id: ClusterID) -> None:
        self._listed.add(kind)
        self._changed()

    def refused(self, key: str, reason: str) -> None:
        if self._refusals.add(reason) is not None:
            log.warning("peer %s: entry %s: %s", self.name, key, reason)

    def revoke(self) -> None:
        """What a lost cluster exported stays: its backends go by themselves when agents revoke them."""

    def drain(self) -> None:
        """It is not the cluster that it was; of the new one nothing is known yet."""
        for kind in self._imports:
            self._forget(kind)
        self._listed.clear()
        self._changed()

    def _forget(self, kind: Kind) -> None:
        for key in self._imports[kind].drain():
            self._values[kind].pop(key, None)
