"""One other cluster's ServiceExports: a `Sink` for `peering.peer`. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from clustermesh_operator.snapshot import Remote
from kvstore.watch import Delta
from mesh import serviceexport
from mesh.addressing import ClusterID, PeerScope
from mesh.clusterconfig import ClusterConfig
from mesh.keys import Kind
from mesh.serviceexport import ServiceExport
from peering.imports import Import
from peering.refusals import Refusals

log = logging.getLogger(__name__)


def read_kinds(remote: ClusterConfig) -> tuple[Kind, ...]:
    """Only what is needed here, of clusters that know it."""
    return () if remote.service_exports_enabled is None else (Kind.SERVICEEXPORTS,)


class RemoteExports:
    """`changed` is called whenever `value` may be another one."""

    def __init__(self, name: str, changed: Callable[[], None]) -> None:
        self.name = name
        self._changed = changed
        self._import: Import[ServiceExport] = Import(serviceexport.decode, serviceexport.admit)
        self._exports: dict[str, ServiceExport] = {}
        self._is_listed = False
        self._refusals = Refusals()

    @property
    def value(self) -> Remote:
        return Remote(self._exports, self._is_listed)

    def begin(self, _remote: ClusterConfig, kinds: Sequence[Kind]) -> None:
        if Kind.SERVICEEXPORTS not in kinds:  # it cannot export: that is all of it
            self._forget()
            self._is_listed = True
            self._changed()

    def held(self, _kind: Kind) -> Mapping[bytes, bytes]:
        return self._import.held

    def apply(self, kind: Kind, delta: Delta, scope: PeerScope) -> None:
        accepted = self._import.apply(delta, scope)
        for error in accepted.refusals:
            self.refused(error.key, f"{kind.name.lower()}: {error.reason}")
        self._exports.update(accepted.upserts)
        for key in accepted.removes:
            self._exports.pop(key, None)
        self._changed()

    def listed(self, _kind: Kind, _cluster_id: ClusterID) -> None:
        self._is_listed = True
        self._changed()

    def refused(self, key: str, reason: str) -> None:
        if self._refusals.add(reason) is not None:
            log.warning("peer %s: entry %s: %s", self.name, key, reason)

    def revoke(self) -> None:
        """What a lost cluster exported stays: its backends go by themselves when agents revoke them."""

    def drain(self) -> None:
        """It is not the cluster that it was; of the new one nothing is known yet."""
        self._forget()
        self._is_listed = False
        self._changed()

    def _forget(self) -> None:
        for key in self._import.drain():
            self._exports.pop(key, None)
