"""Endpoint slices: a cluster's endpoints of a service as its Kubernetes says them (spec 2.9).

Wire form: a zstd frame around a protobuf message, under
`cilium/state/endpointslices/v1/<cluster>/<namespace>/<name>`. Wire freeze of the message, not of the frame:
`message` is what can be compared. Fields that no version we know has are kept as bytes, behind the others.
An optional field that is None is not on the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mesh import gojson, protowire, zstdframe
from mesh.addressing import ClusterID, PeerScope
from mesh.errors import DecodeError
from mesh.ip import is_ip, is_ipv4
from mesh.protowire import (
    Budget,
    as_message,
    as_text,
    as_uint32,
    read_pair,
    write_map,
    write_message,
    write_number,
    write_text,
)
from mesh.sliceendpoint import Endpoint, EndpointPort, read_endpoint, read_port, write_endpoint, write_port

# on Kubernetes' slices: who makes them
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
# slices that a mesh makes of *remote* backends: exporting them again would send them round in circles
MESH_CONTROLLER = "endpointslice-mesh-controller.cilium.io"
IPV4 = "IPv4"
IPV6 = "IPv6"
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_FIELDS = 262_144  # a slice may have 1000 endpoints of 100 addresses each


@dataclass(frozen=True, slots=True)
class ClusterEndpointSlice:
    """One slice of one cluster."""

    cluster: str
    cluster_id: ClusterID
    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    address_type: str = IPV4
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()
    unknown: bytes = b""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


def decode(suffix: str, value: bytes) -> ClusterEndpointSlice:
    """Read one pair; `suffix` must be `<namespace>/<name>`."""
    try:
        item = _read_slice(unpack(value), protowire.budget(MAX_FIELDS))
    except ValueError as error:
        raise DecodeError(suffix, str(error)) from error
    for name in ("cluster", "namespace", "name"):
        if not getattr(item, name):
            raise DecodeError(suffix, f"{name} is unset")
    _check_addresses(suffix, item)
    if item.key != suffix:
        raise DecodeError(suffix, f"namespaced name does not match key: got {item.key[:256]!r}")
    return item


def unpack(value: bytes) -> bytes:
    """The message inside. ValueError when there is none."""
    if len(value) > gojson.MAX_VALUE_BYTES:
        raise ValueError(f"value of {len(value)} bytes exceeds {gojson.MAX_VALUE_BYTES}")
    return zstdframe.decompress(value, MAX_MESSAGE_BYTES)


def _check_addresses(suffix: str, item: ClusterEndpointSlice) -> None:
    match item.address_type:
        case "IPv4":
            is_right: Callable[[str], object] = is_ipv4
        case "IPv6":
            is_right = _is_ipv6
        case _:
            raise DecodeError(suffix, f"address type is invalid: {item.address_type[:64]!r}")
    for endpoint in item.endpoints:
        for address in endpoint.addresses:
            if not is_right(address):
                raise DecodeError(suffix, f"invalid {item.address_type} endpoint address: {address[:64]!r}")


def _is_ipv6(text: str) -> bool:
    return ":" in text and is_ip(text)


def _read_slice(message: bytes, remaining: Budget) -> ClusterEndpointSlice:
    texts = {1: "", 3: "", 4: "", 7: ""}
    maps: dict[int, dict[str, str]] = {5: {}, 6: {}}
    cluster_id = 0
    endpoints: list[Endpoint] = []
    ports: list[EndpointPort] = []
    unknown: list[bytes] = []
    for number, value, raw in protowire.read(message, remaining):
        match number:
            case 1 | 3 | 4 | 7:
                texts[number] = as_text(value)
            case 2:
                cluster_id = as_uint32(value)
            case 5 | 6:
                key, text = read_pair(as_message(value), remaining)
                maps[number][key] = text
            case 8:
                endpoints.append(read_endpoint(as_message(value), remaining))
            case 9:
                ports.append(read_port(as_message(value), remaining))
            case _:
                unknown.append(raw)
    return ClusterEndpointSlice(
        cluster=texts[1],
        cluster_id=ClusterID(cluster_id),
        namespace=texts[3],
        name=texts[4],
        labels=maps[5],
        annotations=maps[6],
        address_type=texts[7],
        endpoints=tuple(endpoints),
        ports=tuple(ports),
        unknown=b"".join(unknown),
    )


def encode(item: ClusterEndpointSlice) -> tuple[str, bytes]:
    """ValueError when a text is not valid Unicode."""
    return item.key, zstdframe.compress(message(item))


def message(item: ClusterEndpointSlice) -> bytes:
    """What `encode` compresses: the same bytes for the same slice, as Cilium writes them."""
    return b"".join(
        (
            write_text(1, item.cluster),
            write_number(2, item.cluster_id),
            write_text(3, item.namespace),
            write_text(4, item.name),
            write_map(5, item.labels),
            write_map(6, item.annotations),
            write_text(7, item.address_type),
            *(write_message(8, write_endpoint(endpoint)) for endpoint in item.endpoints),
            *(write_message(9, write_port(port)) for port in item.ports),
            item.unknown,
        )
    )


def admit(item: ClusterEndpointSlice, scope: PeerScope) -> ClusterEndpointSlice:
    """The slice, or DecodeError unless it is `scope`'s own."""
    if item.cluster != scope.name:
        raise DecodeError(item.key, f"unexpected cluster name: got {item.cluster[:64]!r}")
    if item.cluster_id != scope.cluster_id:
        raise DecodeError(
            item.key, f"unexpected cluster ID: got {item.cluster_id}, expected {scope.cluster_id}"
        )
    return item
