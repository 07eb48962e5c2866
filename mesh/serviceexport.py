"""Service exports: one cluster's share of a service of the multi-cluster services API (spec 2.10).

Wire form: JSON under `cilium/state/serviceexports/v1/<cluster>/<namespace>/<name>`. Wire freeze. Stricter
than Cilium 1.20 where its later readers are: a share without `ipFamilies` is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from mesh import gojson, timestamp
from mesh.addressing import PeerScope
from mesh.errors import DecodeError

CLUSTER_SET_IP = "ClusterSetIP"
HEADLESS = "Headless"
TYPES = frozenset({CLUSTER_SET_IP, HEADLESS})
SESSION_AFFINITIES = frozenset({"ClientIP", "None"})
IP_FAMILIES = frozenset({"IPv4", "IPv6"})
INTERNAL_TRAFFIC_POLICIES = frozenset({"Cluster", "Local"})
TRAFFIC_DISTRIBUTIONS = frozenset({"PreferClose", "PreferSameZone", "PreferSameNode"})

_ZERO_TIME = datetime(1, 1, 1, tzinfo=UTC)
_CAPITALISED = {"Labels": "labels", "Annotations": "annotations"}  # what readers before 1.20 look for

_Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
_Text = str | UnsetType | None  # left out when empty
_Texts = dict[str, str] | UnsetType | None


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of the service. An empty name or protocol is not on the wire."""

    name: str
    protocol: str
    port: int
    app_protocol: str | None = None


@dataclass(frozen=True, slots=True)
class ClientIPConfig:
    timeout_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class SessionAffinityConfig:
    client_ip: ClientIPConfig | None = None


@dataclass(frozen=True, slots=True)
class ServiceExport:
    """One cluster's share.

    `created` is the text on the wire, `created_at` what it means. `members`: the wire names in their order
    where the writer repeats labels and annotations under capitalised names; `has_null_ports`: the writer said
    null for no ports. Only bytes that must come out as they came in care for these two.
    """

    cluster: str
    namespace: str
    name: str
    created: str
    ports: tuple[ServicePort, ...] = ()
    type: str = CLUSTER_SET_IP
    session_affinity: str = "None"
    session_affinity_config: SessionAffinityConfig | None = None
    ip_families: tuple[str, ...] = ()
    internal_traffic_policy: str | None = None
    traffic_distribution: str | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    members: tuple[str, ...] = ()
    has_null_ports: bool = False

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def created_at(self) -> datetime:
        """Of conflicting exports the oldest is right."""
        return timestamp.parse(self.created)


class _Port(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    name: _Text = UNSET
    protocol: _Text = UNSET
    app_protocol: _Text = UNSET
    port: _Int32 = 0


class _ClientIP(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    timeout_seconds: _Int32 | UnsetType | None = UNSET


class _AffinityConfig(msgspec.Struct, forbid_unknown_fields=True):
    client_ip: _ClientIP | UnsetType | None = msgspec.field(name="clientIP", default=UNSET)


class _Wire(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """In the order in which Cilium writes."""

    cluster: str = ""
    name: str = ""
    namespace: str = ""
    annotations: _Texts = UNSET
    labels: _Texts = UNSET
    export_creation_timestamp: str | None = None
    ports: list[_Port] | None = None
    type: str = ""
    session_affinity: str = ""
    session_affinity_config: _AffinityConfig | UnsetType | None = UNSET
    ip_families: list[str] | UnsetType | None = UNSET
    internal_traffic_policy: _Text = UNSET
    traffic_distribution: _Text = UNSET


WIRE = gojson.Reader(_Wire)


def decode(suffix: str, value: bytes) -> ServiceExport:
    """Read one pair; `suffix` must be `<namespace>/<name>`."""
    wire = WIRE.read(suffix, value)
    item = ServiceExport(
        cluster=wire.cluster,
        namespace=wire.namespace,
        name=wire.name,
        created=wire.export_creation_timestamp or "",
        ports=tuple(map(_read_port, wire.ports or ())),
        type=wire.type,
        session_affinity=wire.session_affinity,
        session_affinity_config=_read_config(wire.session_affinity_config or None),
        ip_families=tuple(wire.ip_families or ()),
        internal_traffic_policy=_or_none(wire.internal_traffic_policy),
        traffic_distribution=_or_none(wire.traffic_distribution),
        annotations=wire.annotations or {},
        labels=wire.labels or {},
        members=_members(value),
        has_null_ports=wire.ports is None,
    )
    if (
        reason := _check_names(item)
        or _check_created(wire)
        or _check_values(item)
        or _check_key(item, suffix)
    ):
        raise DecodeError(suffix, reason)
    # repeated names whose maps are empty are not written, so there is nothing to keep
    return replace(item, members=_members(encode(item)[1])) if item.members else item


def _read_port(wire: _Port) -> ServicePort:
    return ServicePort(wire.name or "", wire.protocol or "", wire.port, _or_none(wire.app_protocol))


def _read_config(wire: _AffinityConfig | None) -> SessionAffinityConfig | None:
    if wire is None:
        return None
    if not wire.client_ip:
        return SessionAffinityConfig()
    seconds = wire.client_ip.timeout_seconds
    return SessionAffinityConfig(ClientIPConfig(None if isinstance(seconds, UnsetType) else seconds))


def _or_none(text: _Text) -> str | None:
    return None if isinstance(text, UnsetType) else text


def _members(value: bytes) -> tuple[str, ...]:
    """The names, when some come a second time and capitalised."""
    if not any(f'"{name}"'.encode() in value for name in _CAPITALISED):
        return ()
    names = WIRE.members(value)
    return names if not _CAPITALISED.keys().isdisjoint(names) else ()


def _check_names(item: ServiceExport) -> str:
    """Why readers refuse it, as all of these; empty when they don't."""
    unset = (name for name in ("cluster", "namespace", "name") if not getattr(item, name))
    return next((f"{name} is unset" for name in unset), "")


def _check_created(wire: _Wire) -> str:
    text = wire.export_creation_timestamp
    try:
        if text is None or timestamp.parse(text) == _ZERO_TIME:
            return "exportCreationTimestamp is unset"
    except ValueError as error:
        return f"exportCreationTimestamp: {error}"
    return ""


def _check_values(item: ServiceExport) -> str:
    known = (
        ("type", {item.type}, TYPES),
        ("session affinity", {item.session_affinity}, SESSION_AFFINITIES),
        ("internal traffic policy", {item.internal_traffic_policy} - {None}, INTERNAL_TRAFFIC_POLICIES),
        ("traffic distribution", {item.traffic_distribution} - {None}, TRAFFIC_DISTRIBUTIONS),
        ("IP family", set(item.ip_families), IP_FAMILIES),
    )
    for what, said, allowed in known:
        if not said <= allowed:
            return f"{what} is unknown: {','.join(map(str, said - allowed))[:64]}"
    if not item.ip_families:
        return "ipFamilies is unset"
    return "ipFamilies has duplicates" if len(set(item.ip_families)) < len(item.ip_families) else ""


def _check_key(item: ServiceExport, suffix: str) -> str:
    return "" if item.key == suffix else f"namespaced name does not match key: got {item.key[:256]!r}"


def encode(item: ServiceExport) -> tuple[str, bytes]:
    wire = _Wire(
        cluster=item.cluster,
        name=item.name,
        namespace=item.namespace,
        annotations=item.annotations or UNSET,
        labels=item.labels or UNSET,
        export_creation_timestamp=item.created,
        ports=[_write_port(port) for port in item.ports] if item.ports or not item.has_null_ports else None,
        type=item.type,
        session_affinity=item.session_affinity,
        session_affinity_config=_write_config(item.session_affinity_config),
        ip_families=list(item.ip_families) or UNSET,
        internal_traffic_policy=_or_unset(item.internal_traffic_policy),
        traffic_distribution=_or_unset(item.traffic_distribution),
    )
    written = gojson.write(wire)
    return item.key, _with_members(written, item.members) if item.members else written


def _write_port(port: ServicePort) -> _Port:
    return _Port(port.name or UNSET, port.protocol or UNSET, _or_unset(port.app_protocol), port.port)


def _write_config(config: SessionAffinityConfig | None) -> _AffinityConfig | UnsetType:
    if config is None:
        return UNSET
    if config.client_ip is None:
        return _AffinityConfig()
    seconds = config.client_ip.timeout_seconds
    return _AffinityConfig(_ClientIP(UNSET if seconds is None else seconds))


def _or_unset(text: str | None) -> _Text:
    return UNSET if text is None else text


def _with_members(written: bytes, names: tuple[str, ...]) -> bytes:
    """The same object in the order of `names`, labels and annotations as often as those say."""
    items = msgspec.json.decode(written, type=dict[str, msgspec.Raw])
    order = [name for name in names if _CAPITALISED.get(name, name) in items]
    said = {_CAPITALISED.get(name, name) for name in order}
    order += [name for name in items if name not in said]
    pairs = (gojson.write(name) + b":" + bytes(items[_CAPITALISED.get(name, name)]) for name in order)
    return b"{" + b",".join(pairs) + b"}"


def admit(item: ServiceExport, scope: PeerScope) -> ServiceExport:
    """The share, or DecodeError unless it is `scope`'s own."""
    if item.cluster != scope.name:
        raise DecodeError(item.key, f"unexpected cluster name: got {item.cluster[:64]!r}")
    return item
