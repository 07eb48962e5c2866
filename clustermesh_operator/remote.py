"""One other cluster's ServiceExports and services: a `Sink` for `peering.peer`. No I/O.

What the cluster may not claim is kept, and does not count: entries of other namespaces, and backends outside
of its addresses. Whether an address is one of the cluster's own nodes' only agents know, as they read these.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from clustermesh_operator.snapshot import Remote
from kvstore.watch import Delta, Holding
from mesh import endpointslice, service, serviceexport
from mesh.addressing import ClusterID, PeerScope
from mesh.clusterconfig import ENDPOINTSLICES_ONLY, ClusterConfig
from mesh.endpointslice import ClusterEndpointSlice
from mesh.keys import Kind
from mesh.service import GlobalService
from mesh.serviceexport import ServiceExport
from peering.imports import Import
from peering.refusals import Refusals
from peering.remoteslices import RemoteSlices
from peering.rules import Claims
from peering.territory import Territory

log = logging.getLogger(__name__)

T = TypeVar("T")
UNCLAIMED = "the namespace is not among those that the peer may serve"
UNCLAIMED_BACKEND = "a backend is not among the addresses that the peer may claim"
WAYS = (Kind.SERVICES, Kind.ENDPOINTSLICES)  # in which services travel


def read_kinds(remote: ClusterConfig, *, endpoint_sync: bool = False) -> tuple[Kind, ...]:
    """Only what is needed here, of clusters that have it."""
    kinds = [] if remote.service_exports_enabled is None else [Kind.SERVICEEXPORTS]
    if endpoint_sync:
        is_sliced = remote.endpoint_slices_export_mode == ENDPOINTSLICES_ONLY
        kinds.append(Kind.ENDPOINTSLICES if is_sliced else Kind.SERVICES)
    return tuple(kinds)


class RemoteExports:
    """`changed` is called whenever `value` may be another one."""

    def __init__(self, name: str, changed: Callable[[], None], claims: Callable[[], Claims] = Claims) -> None:
        """`claims`: what the cluster may claim now."""
        self.name = name
        self._claims = claims
        self._addresses: tuple[str, ...] | None = None
        self._claimable: Territory | None = None  # of these; None: any address
        self._changed = changed
        self._imports: dict[Kind, Import[Any]] = {
            Kind.SERVICEEXPORTS: Import(serviceexport.decode, serviceexport.admit),
            Kind.SERVICES: Import(service.decode, service.admit),
            Kind.ENDPOINTSLICES: Import(endpointslice.decode, endpointslice.admit),
        }
        self._exports: dict[str, ServiceExport] = {}
        self._services: dict[Kind, dict[str, GlobalService]] = {kind: {} for kind in WAYS}
        self._way = Kind.SERVICES  # by which the services are known that count
        self._slices = RemoteSlices()
        self._kinds: frozenset[Kind] | None = None  # what there is to read; None: not known yet
        self._listed: set[Kind] = set()
        self._refusals = Refusals()

    @property
    def value(self) -> Remote:
        is_listed = self._kinds is not None and self._listed >= self._kinds
        services = self._within(self._claimed(self._services[self._way]))
        return Remote(self._claimed(self._exports), services, is_listed)

    def begin(self, _remote: ClusterConfig, kinds: Sequence[Kind]) -> None:
        """Of other kinds there is nothing; services that come another way now stay until those are listed."""
        self._kinds = frozenset(kinds)
        self._listed &= self._kinds
        is_another_way = not self._kinds.isdisjoint(WAYS)
        for kind in self._imports.keys() - self._kinds:
            if kind not in WAYS or not is_another_way:
                self._forget(kind)
        self._changed()

    def held(self, kind: Kind) -> Holding:
        return self._imports[kind]

    def apply(self, kind: Kind, delta: Delta, scope: PeerScope) -> None:
        accepted = self._imports[kind].apply(delta, scope)
        for error in accepted.refusals:
            self.refused(error.key, f"{kind.name.lower()}: {error.reason}")
        for key, value in accepted.upserts.items():
            self._refuse_unclaimed(key, value)
            self._set(kind, key, value)
        for key in accepted.removes:
            self._set(kind, key, None)
        self._changed()

    def listed(self, kind: Kind, _cluster_id: ClusterID) -> None:
        self._listed.add(kind)
        if kind in WAYS and kind is not self._way:
            self._forget(self._way)
            self._way = kind
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
        self._kinds = None
        self._listed.clear()
        self._changed()

    def _claimed(self, values: dict[str, T]) -> dict[str, T]:
        namespaces = self._claims().namespaces
        if namespaces is None:
            return values
        return {key: value for key, value in values.items() if key.partition("/")[0] in namespaces}

    def _within(self, services: dict[str, GlobalService]) -> dict[str, GlobalService]:
        """With those backends that may be claimed."""
        claimable = self._territory()
        if claimable is None:
            return services
        return {
            key: replace(
                value, backends={ip: each for ip, each in value.backends.items() if ip not in outside}
            )
            if (outside := claimable.outside(value.backends))
            else value
            for key, value in services.items()
        }

    def _territory(self) -> Territory | None:
        """What the claims say now."""
        addresses = self._claims().addresses
        if addresses != self._addresses:
            self._addresses = addresses
            self._claimable = None if addresses is None else Territory.of(addresses)
        return self._claimable

    def _refuse_unclaimed(self, key: str, value: Any) -> None:
        namespaces, claimable = self._claims().namespaces, self._territory()
        if namespaces is not None and key.partition("/")[0] not in namespaces:
            self.refused(key, UNCLAIMED)
        elif claimable is not None and claimable.outside(_backends(value)):
            self.refused(key, UNCLAIMED_BACKEND)

    def _forget(self, kind: Kind) -> None:
        for key in self._imports[kind].drain():
            self._set(kind, key, None)

    def _set(self, kind: Kind, key: str, value: Any) -> None:
        """None: it is gone. Slices count as the services that they are slices of."""
        match kind:
            case Kind.SERVICEEXPORTS:
                _put(self._exports, key, value)
            case Kind.SERVICES:
                _put(self._services[kind], key, value)
            case Kind.ENDPOINTSLICES:
                for name in self._slices.set(key, value):
                    _put(self._services[kind], name, self._slices.service(name))


def _backends(value: Any) -> Iterable[str]:
    match value:
        case GlobalService():
            return value.backends
        case ClusterEndpointSlice():
            return [address for endpoint in value.endpoints for address in endpoint.addresses]
    return ()


def _put(values: dict[str, T], key: str, value: T | None) -> None:
    if value is None:
        values.pop(key, None)
    else:
        values[key] = value
