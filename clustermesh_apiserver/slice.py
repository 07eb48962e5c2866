"""One EndpointSlice: its usable backends (spec 2.8, 4.3), and as a slice of the mesh (spec 2.9). Pure.

An endpoint counts when it is ready or still serving; conditions that are absent follow Kubernetes'
contract: ready when nothing is said. Addresses are put into canonical text, because peers compare
texts. What is not an IP address (FQDN slices) and ports without a number are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from k8s.discovery import Endpoint, EndpointSlice
from mesh import endpointslice, sliceendpoint
from mesh.addressing import PeerScope
from mesh.endpointslice import MESH_CONTROLLER, ClusterEndpointSlice
from mesh.ip import canonical_ip, family
from mesh.service import Port, Zone
from mesh.sliceendpoint import Conditions, EndpointPort, Hints

SERVICE_NAME = "kubernetes.io/service-name"

_FAMILIES = {endpointslice.IPV4: 4, endpointslice.IPV6: 6}
PROTOCOLS = frozenset({"TCP", "UDP", "SCTP"})


@dataclass(frozen=True, slots=True)
class SliceBackends:
    """By backend address: its ports by name, and its host name and zone where it has one."""

    backends: dict[str, dict[str, Port]] = field(default_factory=dict)
    hostnames: dict[str, str] = field(default_factory=dict)
    zones: dict[str, Zone] = field(default_factory=dict)


def owner(item: EndpointSlice) -> str:
    """The service (namespace/name) whose backends these are; empty when it is not ours to export."""
    name = item.service_name
    if not name or item.managed_by == MESH_CONTROLLER:
        return ""
    return f"{item.metadata.namespace}/{name}"


def read_slice(item: EndpointSlice) -> SliceBackends:
    found = SliceBackends()
    ports = {
        port.name: Port(port.protocol, port.port)
        for port in item.ports
        if port.port and port.protocol in PROTOCOLS
    }
    for endpoint in item.endpoints:
        if _is_usable(endpoint):
            _add(found, endpoint, ports)
    return found


def merge(slices: Iterable[SliceBackends]) -> SliceBackends:
    """All backends of one service. A later slice's word on an address replaces an earlier one's."""
    merged = SliceBackends()
    for item in slices:
        merged.backends.update(item.backends)
        for address in item.backends:
            merged.hostnames.pop(address, None)
            merged.zones.pop(address, None)
        merged.hostnames.update(item.hostnames)
        merged.zones.update(item.zones)
    return merged


def _is_usable(endpoint: Endpoint) -> bool:
    return endpoint.conditions.ready is not False or endpoint.conditions.serving is True


def _add(found: SliceBackends, endpoint: Endpoint, ports: dict[str, Port]) -> None:
    for address in filter(None, map(canonical_ip, endpoint.addresses)):
        found.backends[address] = ports
        found.hostnames.pop(address, None)  # the last word on an address counts, as for who reads slices
        found.zones.pop(address, None)
        if endpoint.hostname:
            found.hostnames[address] = endpoint.hostname
        if endpoint.zone:
            zones = tuple(zone.name for zone in endpoint.hints.forZones)
            found.zones[address] = Zone(endpoint.zone, zones)


def of_mesh(item: EndpointSlice, scope: PeerScope) -> ClusterEndpointSlice | None:
    """The whole slice as peers read it; None for host names. ValueError for what readers would refuse."""
    version = _FAMILIES.get(item.addressType)
    if version is None:
        return None
    for address in (address for endpoint in item.endpoints for address in endpoint.addresses):
        if canonical_ip(address) is None or family(address) != version:
            raise ValueError(f"{address!r} is not an {item.addressType} address")
    return ClusterEndpointSlice(
        cluster=scope.name,
        cluster_id=scope.cluster_id,
        namespace=item.metadata.namespace,
        name=item.metadata.name,
        labels=item.metadata.labels,
        annotations=item.metadata.annotations,
        address_type=item.addressType,
        endpoints=tuple(map(_of_mesh, item.endpoints)),
        ports=tuple(
            EndpointPort(port.name, port.protocol, port.port or None, port.appProtocol or None)
            for port in item.ports
        ),
    )


def _of_mesh(item: Endpoint) -> sliceendpoint.Endpoint:
    said, zones = item.conditions, tuple(zone.name for zone in item.hints.forZones)
    return sliceendpoint.Endpoint(
        addresses=item.addresses,
        conditions=Conditions(said.ready, said.serving, said.terminating),
        hostname=item.hostname or None,
        node_name=item.nodeName or None,
        zone=item.zone or None,
        hints=Hints(zones) if zones else None,
    )
