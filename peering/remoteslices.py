"""One peer's endpoint slices as the services they are slices of. Pure.

The same backends as the peer's exporter makes of them for those who read services: an endpoint counts that
is ready (also when nothing is said) or still serving, and of two slices that name one address the later in
name order counts.
"""

from __future__ import annotations

from collections.abc import Iterator

from mesh.endpointslice import MANAGED_BY, MESH_CONTROLLER, ClusterEndpointSlice
from mesh.ip import canonical_ip
from mesh.service import GlobalService, Port, Ports, Zone
from mesh.sliceendpoint import Conditions, Endpoint

SERVICE_NAME = "kubernetes.io/service-name"
DEFAULT_PROTOCOL = "TCP"


class RemoteSlices:
    """Folds slices into services, keyed by "namespace/name"."""

    def __init__(self) -> None:
        self._slices: dict[str, dict[str, ClusterEndpointSlice]] = {}  # service -> slice
        self._owner: dict[str, str] = {}  # slice -> service

    def __len__(self) -> int:
        return len(self._slices)

    def set(self, key: str, item: ClusterEndpointSlice | None) -> set[str]:
        """The services that this touches."""
        touched = set()
        before = self._owner.pop(key, None)
        if before is not None:
            touched.add(before)
            members = self._slices[before]
            del members[key]
            if not members:
                del self._slices[before]
        owner = _owner(item) if item is not None else ""
        if item is not None and owner:
            touched.add(owner)
            self._owner[key] = owner
            self._slices.setdefault(owner, {})[key] = item
        return touched

    def service(self, key: str) -> GlobalService | None:
        members = self._slices.get(key)
        if not members:
            return None
        namespace, _, name = key.partition("/")
        first = members[min(members)]
        service = GlobalService(first.cluster, namespace, name, cluster_id=first.cluster_id)
        for slice_key in sorted(members):
            _add(service, members[slice_key])
        return service


def _owner(item: ClusterEndpointSlice) -> str:
    name = item.labels.get(SERVICE_NAME, "")
    if not name or item.labels.get(MANAGED_BY) == MESH_CONTROLLER:
        return ""
    return f"{item.namespace}/{name}"


def _add(service: GlobalService, item: ClusterEndpointSlice) -> None:
    ports: Ports = {
        port.name or "": Port(port.protocol or DEFAULT_PROTOCOL, port.port)
        for port in item.ports
        if port.port is not None and 0 < port.port < 1 << 16
    }
    for address, endpoint in _usable(item):
        service.backends[address] = ports
        service.hostnames.pop(address, None)
        service.zones.pop(address, None)
        if endpoint.hostname:
            service.hostnames[address] = endpoint.hostname
        if endpoint.zone:
            service.zones[address] = Zone(endpoint.zone, endpoint.hints.for_zones if endpoint.hints else ())


def _usable(item: ClusterEndpointSlice) -> Iterator[tuple[str, Endpoint]]:
    for endpoint in item.endpoints:
        if _is_usable(endpoint.conditions):
            for text in endpoint.addresses:
                address = canonical_ip(text)
                if address is not None:
                    yield address, endpoint


def _is_usable(conditions: Conditions) -> bool:
    return conditions.ready is not False or conditions.serving is True
