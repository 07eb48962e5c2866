"""Global services: one cluster's backends of a service that others may use (spec 2.8).

Wire form: JSON under `cilium/state/services/v1/<cluster>/<namespace>/<name>`. Wire freeze. Addresses stay
the texts that the peer wrote, also where they are not in canonical form. There is no affinity on the wire:
each cluster's own Service decides what it does with the backends of others (`mesh.merge`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, cast

import msgspec

from mesh import gojson
from mesh.addressing import UNSET_CLUSTER, ClusterID, PeerScope
from mesh.errors import DecodeError
from mesh.ip import is_ip, is_ipv4

_UInt16 = Annotated[int, msgspec.Meta(ge=0, le=2**16 - 1)]
_UInt32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class Port(msgspec.Struct, rename="pascal", frozen=True, forbid_unknown_fields=True, gc=False):
    """A transport port."""

    protocol: str = ""
    port: _UInt16 = 0


@dataclass(frozen=True, slots=True)
class Zone:
    """Where a backend is, and which zones should use it."""

    zone: str
    for_zones: tuple[str, ...] = ()


Ports = dict[str, Port]  # by name; an only port may be named ""


@dataclass(frozen=True, slots=True)
class GlobalService:
    """One cluster's share of a service. `frontends` and `backends`: address -> ports by name.

    `nulls` are the paths (`labels`, `backends/192.0.2.2`, `backends/192.0.2.2/http`, `zones/192.0.2.2`) that
    are null on the wire: only bytes that must come out as they came in care.
    """

    cluster: str
    namespace: str
    name: str
    frontends: dict[str, Ports] = field(default_factory=dict)
    backends: dict[str, Ports] = field(default_factory=dict)
    hostnames: dict[str, str] = field(default_factory=dict)
    zones: dict[str, Zone] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    selector: dict[str, str] = field(default_factory=dict)
    include_external: bool = True
    shared: bool = True
    cluster_id: ClusterID = UNSET_CLUSTER
    nulls: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


class _ForZone(msgspec.Struct, forbid_unknown_fields=True):
    name: str = ""


class _Zone(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    zone: str = ""
    for_zones: list[_ForZone] | None = None


class _Plain(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What Cilium usually writes: no null that would have to be looked for in ten thousand backends."""

    cluster: str
    namespace: str
    name: str
    frontends: dict[str, Ports]
    backends: dict[str, Ports]
    labels: dict[str, str]
    selector: dict[str, str]
    include_external: bool
    shared: bool
    cluster_id: _UInt32 = msgspec.field(name="clusterID")
    hostnames: dict[str, str] = {}
    zones: dict[str, _Zone] = {}


_NullablePorts = dict[str, dict[str, Port | None] | None]


class _Wire(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """In the order in which Cilium writes. Its decoder starts from empty maps, so absent is not null."""

    cluster: str = ""
    namespace: str = ""
    name: str = ""
    frontends: _NullablePorts | None = {}
    backends: _NullablePorts | None = {}
    hostnames: dict[str, str] | msgspec.UnsetType | None = msgspec.UNSET
    zones: dict[str, _Zone] | msgspec.UnsetType | None = msgspec.UNSET
    labels: dict[str, str] | None = {}
    selector: dict[str, str] | None = {}
    include_external: bool = False
    shared: bool = False
    cluster_id: _UInt32 = msgspec.field(name="clusterID", default=0)


_plain = msgspec.json.Decoder(_Plain)
WIRE = gojson.Reader(_Wire)


def decode(suffix: str, value: bytes) -> GlobalService:
    """Read one pair; `suffix` must be `<namespace>/<name>`."""
    service = _read(suffix, value)
    for name in ("cluster", "namespace", "name"):
        if not getattr(service, name):
            raise DecodeError(suffix, f"{name} is unset")
    if service.key != suffix:
        raise DecodeError(suffix, f"namespaced name does not match key: got {service.key[:256]!r}")
    for address in (*service.frontends, *service.backends):
        if not is_ipv4(address) and not is_ip(address):
            raise DecodeError(suffix, f"invalid IP address: {address[:64]!r}")
    return service


def _read(suffix: str, value: bytes) -> GlobalService:
    if len(value) <= gojson.MAX_VALUE_BYTES:
        try:
            plain = _plain.decode(value)
        except (ValueError, RecursionError):
            pass
        else:
            return _build(plain, plain.frontends, plain.backends, set())
    wire = WIRE.read(suffix, value)
    nulls = {name for name in ("frontends", "backends", "labels", "selector") if getattr(wire, name) is None}
    frontends = _without_nulls("frontends", wire.frontends or {}, nulls)
    return _build(wire, frontends, _without_nulls("backends", wire.backends or {}, nulls), nulls)


def _without_nulls(root: str, addresses: _NullablePorts, nulls: set[str]) -> dict[str, Ports]:
    plain: dict[str, Ports] = {}
    for address, ports in addresses.items():
        plain[address] = {name: port for name, port in (ports or {}).items() if port is not None}
        if ports is None:
            nulls.add(f"{root}/{address}")
        elif len(plain[address]) < len(ports):
            nulls.update(f"{root}/{address}/{name}" for name, port in ports.items() if port is None)
    return plain


def _build(
    wire: _Plain | _Wire, frontends: dict[str, Ports], backends: dict[str, Ports], nulls: set[str]
) -> GlobalService:
    zones = wire.zones or {}
    nulls.update(f"zones/{address}" for address, zone in zones.items() if zone.for_zones is None)
    return GlobalService(
        cluster=wire.cluster,
        namespace=wire.namespace,
        name=wire.name,
        frontends=frontends,
        backends=backends,
        hostnames=wire.hostnames or {},
        zones={
            address: Zone(zone.zone, tuple(item.name for item in zone.for_zones or ()))
            for address, zone in zones.items()
        },
        labels=wire.labels or {},
        selector=wire.selector or {},
        include_external=wire.include_external,
        shared=wire.shared,
        cluster_id=ClusterID(wire.cluster_id),
        nulls=frozenset(nulls),
    )


def encode(service: GlobalService) -> tuple[str, bytes]:
    nulls = service.nulls
    wire = _Wire(
        cluster=service.cluster,
        namespace=service.namespace,
        name=service.name,
        frontends=_with_nulls("frontends", service.frontends, nulls),
        backends=_with_nulls("backends", service.backends, nulls),
        hostnames=service.hostnames or msgspec.UNSET,
        zones=_write_zones(service) or msgspec.UNSET,
        labels=service.labels if service.labels or "labels" not in nulls else None,
        selector=service.selector if service.selector or "selector" not in nulls else None,
        include_external=service.include_external,
        shared=service.shared,
        cluster_id=service.cluster_id,
    )
    return service.key, gojson.write(wire)


def _with_nulls(root: str, addresses: dict[str, Ports], nulls: frozenset[str]) -> _NullablePorts | None:
    written = cast(_NullablePorts, dict(addresses))  # a dict that may also hold null
    if not nulls:
        return written
    changed: dict[str, dict[str, Port | None]] = {}  # copies: the ports of `addresses` are not ours to change
    for path in nulls:
        match path.split("/", 2):
            case [top, address] if top == root and not written.get(address):
                written[address] = None
            case [top, address, name] if top == root and name not in (ports := written.get(address) or {}):
                if address not in changed:
                    written[address] = changed[address] = dict(ports)
                changed[address][name] = None
    return None if not written and root in nulls else written


def _write_zones(service: GlobalService) -> dict[str, _Zone]:
    return {
        address: _Zone(
            zone.zone,
            None
            if not zone.for_zones and f"zones/{address}" in service.nulls
            else [_ForZone(name) for name in zone.for_zones],
        )
        for address, zone in service.zones.items()
    }


def admit(service: GlobalService, scope: PeerScope) -> GlobalService:
    """The service, or DecodeError unless it is `scope`'s own."""
    if service.cluster != scope.name:
        raise DecodeError(service.key, f"unexpected cluster name: got {service.cluster[:64]!r}")
    if service.cluster_id != scope.cluster_id:
        got = service.cluster_id
        raise DecodeError(service.key, f"unexpected cluster ID: got {got}, expected {scope.cluster_id}")
    return service
