"""Kubernetes objects as the agent's own values. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_network
from typing import Literal

from agent.ipcache import IPCacheEntry, host_prefix
from agent.ownslices import Slice
from k8s.cilium import CiliumEndpoint, CiliumNode
from k8s.core import Service, ServiceSpec
from k8s.core import ServicePort as KubernetesPort
from k8s.discovery import Endpoint, EndpointConditions, EndpointSlice
from mesh import localoptions
from mesh.addressing import PeerScope
from mesh.cidr import is_inside
from mesh.ip import canonical_ip, family
from mesh.ipcache import IPEntry
from mesh.localoptions import Kind
from mesh.localservice import LocalBackend, LocalService
from mesh.matching import ServicePort
from mesh.namedports import NamedPorts, gathered
from mesh.node import Node, NodeAddress
from mesh.service import Port, Zone
from mesh.topology import is_zonal

# slices that a mesh controller made of remote backends: they come to us from the peers themselves (spec 5.5)
MIRRORED_BY = "endpointslice-mesh-controller.cilium.io"
DEFAULT_STICKY, MAX_STICKY = 10_800, 86_400  # seconds
_SHARED = 65536  # identities, and nodes, of a mesh: more than that only cost memory
NOBODY = "0.0.0.0/32"  # a network without clients
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"


def local_service(service: Service) -> LocalService:
    """A Service without its backends. A headless one has no frontends."""
    spec, annotations = service.spec, service.metadata.annotations
    families: tuple[int, ...] = ()
    addresses: list[str] = []
    balancers: list[str] = []
    external: tuple[str, ...] = ()
    if spec.type != "ExternalName" and spec.clusterIP not in ("", "None"):
        addresses += spec.clusterIPs or (spec.clusterIP,)
        families = tuple(sorted({family(ip) for ip in addresses}))
        if not localoptions.has(annotations, Kind.CLUSTER_IP):
            addresses.clear()
        balancers += _balancers(service)
        external = tuple(map(_address, spec.externalIPs))
        addresses += [*balancers, *external]
    return LocalService(
        namespace=service.metadata.namespace,
        name=service.metadata.name,
        annotations=annotations,
        cluster_ips=tuple(dict.fromkeys(addresses)),
        ports=tuple(
            ServicePort(port.name, port.protocol, port.port, _node_port(service, port), _target(port))
            for port in spec.ports
        ),
        node_only=spec.internalTrafficPolicy == "Local",
        zonal=is_zonal(annotations, spec.trafficDistribution),
        sticky=_sticky(spec),
        outside_node_only=spec.externalTrafficPolicy == "Local",
        balancer_ips=tuple(balancers),
        external_ips=external,
        source_ranges=_networks(spec.loadBalancerSourceRanges) if spec.type == "LoadBalancer" else (),
        ranges_deny=localoptions.denies_ranges(annotations),
        health_port=_health_port(spec),
        node_families=families,
        algorithm=localoptions.algorithm(annotations),
    )


def _balancers(service: Service) -> list[str]:
    """Addresses whose packets come to nodes as they are; a balancer that is a proxy keeps its own.

    What the status still says of a Service that is of another type now counts for nothing, as in Cilium.
    """
    if service.spec.type != "LoadBalancer" or not localoptions.has(
        service.metadata.annotations, Kind.LOAD_BALANCER
    ):
        return []
    ingress = service.status.loadBalancer.ingress
    return [_address(each.ip) for each in ingress if each.ip and each.ipMode != "Proxy"]


def _address(text: str) -> str:
    """As others write it: IPv6 has many forms. What is no address stays, and is told as one that fails."""
    return canonical_ip(text) or text


def _networks(texts: Iterable[str]) -> tuple[str, ...]:
    """In canonical form. What is none admits nobody, but closes the service to others as it says."""
    found = dict.fromkeys(canonical for text in texts if (canonical := _network(text.strip())))
    return tuple(found) or (NOBODY,) * any(texts)


def _network(text: str) -> str:
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        return ""


def _health_port(spec: ServiceSpec) -> int:
    is_told = spec.type == "LoadBalancer" and spec.externalTrafficPolicy == "Local"
    return spec.healthCheckNodePort if is_told else 0


def _node_port(service: Service, port: KubernetesPort) -> int:
    """A number that another type left behind counts for nothing."""
    has_any = service.spec.type in ("NodePort", "LoadBalancer")
    return port.nodePort if has_any and localoptions.has(service.metadata.annotations, Kind.NODE_PORT) else 0


def _target(port: KubernetesPort) -> int:
    return port.targetPort if isinstance(port.targetPort, int) else 0


def _sticky(spec: ServiceSpec) -> int:
    """Seconds that a client keeps its backend; 0 without session affinity. Bounds are Kubernetes'."""
    if spec.sessionAffinity != "ClientIP":
        return 0
    config = spec.sessionAffinityConfig
    told = config.clientIP.timeoutSeconds if config and config.clientIP else None
    return DEFAULT_STICKY if told is None else min(max(told, 1), MAX_STICKY)


def service_slice(piece: EndpointSlice) -> Slice | None:
    """A slice of a service; None when it belongs to none, or when it mirrors other clusters' backends.

    In maintenance it is one without endpoints: what they have goes on, as where they are not ready.
    """
    name = piece.service_name
    if not name or piece.metadata.labels.get(MANAGED_BY_LABEL) == MIRRORED_BY:
        return None
    ports = {port.name: Port(port.protocol, port.port) for port in piece.ports if port.port}
    endpoints = () if localoptions.is_in_maintenance(piece.metadata.annotations) else piece.endpoints
    backends = [
        LocalBackend(ip=address, ports=ports, state=state, node=endpoint.nodeName, zone=_zone(endpoint))
        for endpoint in endpoints
        if (state := _state(endpoint.conditions)) is not None
        for address in endpoint.addresses
    ]
    return Slice(f"{piece.metadata.namespace}/{name}", tuple(backends))


def api_server_addresses(piece: EndpointSlice) -> frozenset[str]:
    """Where Kubernetes itself answers: the endpoints of `default/kubernetes`; IPv4."""
    if (piece.metadata.namespace, piece.service_name) != ("default", "kubernetes"):
        return frozenset()
    return frozenset(ip for endpoint in piece.endpoints for ip in endpoint.addresses if ":" not in ip)


def _zone(endpoint: Endpoint) -> Zone | None:
    for_zones = tuple(hint.name for hint in endpoint.hints.forZones)
    return Zone(endpoint.zone, for_zones) if endpoint.zone or for_zones else None


def _state(conditions: EndpointConditions) -> Literal["active", "terminating"] | None:
    if conditions.ready is not False and not conditions.terminating:
        return "active"
    serving = conditions.serving if conditions.serving is not None else conditions.ready is not False
    return "terminating" if conditions.terminating and serving else None


def node_of(node: CiliumNode, cluster: PeerScope) -> Node:
    """A node of our own cluster, in the form that peers' nodes have."""
    spec = node.spec
    ipv4 = [cidr for cidr in spec.ipam.cidrs if ":" not in cidr]
    ipv6 = [cidr for cidr in spec.ipam.cidrs if ":" in cidr]
    return Node(
        name=node.metadata.name,
        cluster=cluster.name,
        cluster_id=cluster.cluster_id,
        addresses=tuple(NodeAddress(address.type, address.ip) for address in spec.addresses),
        ipv4_pod_cidr=_first(ipv4),
        ipv4_secondary_pod_cidrs=tuple(ipv4[1:]),
        ipv6_pod_cidr=_first(ipv6),
        ipv6_secondary_pod_cidrs=tuple(ipv6[1:]),
        ipv4_health_ip=spec.health.ipv4,
        ipv6_health_ip=spec.health.ipv6,
        ipv4_ingress_ip=spec.ingress.ipv4,
        ipv6_ingress_ip=spec.ingress.ipv6,
        source="custom-resource",
        encryption_key=spec.encryption.key,
        labels=node.metadata.labels,
        annotations=node.metadata.annotations,
        wireguard_pub_key="",
        boot_id=spec.bootid,
    )


def endpoint_entries(endpoint: CiliumEndpoint, own_ip: str) -> dict[str, IPCacheEntry]:
    """The ipcache entries of one pod of our cluster; pods of our own node need no tunnel."""
    status = endpoint.status
    if not status.identity.id or not status.networking.node:
        return {}
    tunnel = None if status.networking.node == own_ip else status.networking.node
    entry = IPCacheEntry(status.identity.id, tunnel, status.encryption.key)
    addresses = [ip for pair in status.networking.addressing for ip in (pair.ipv4, pair.ipv6) if ip]
    return {host_prefix(address): entry for address in addresses}


def named_ports(endpoint: CiliumEndpoint) -> NamedPorts:
    """The ports that a pod gives a name to; none without an identity."""
    if not endpoint.status.identity.id:
        return {}
    told = endpoint.status.named_ports
    return gathered((port.name, Port(port.protocol or "TCP", port.port)) for port in told if port.name)


def remote_entry(entry: IPEntry) -> IPCacheEntry:
    return IPCacheEntry(_same_number(entry.identity), _same_text(entry.host_ip) or None, entry.encrypt_key)


def prefix_of(suffix: str) -> str:
    """The prefix that an ip key's suffix names, without the host bits that a peer may have left in it."""
    return str(ip_network(suffix, strict=False)) if "/" in suffix else host_prefix(suffix)


@lru_cache(maxsize=_SHARED)
def _same_number(number: int) -> int:
    """One object for all that are equal: a mesh has far fewer identities and nodes than addresses."""
    return number


@lru_cache(maxsize=_SHARED)
def _same_text(text: str) -> str:
    return text


def contains(cidrs: Iterable[str], address: str) -> bool:
    wanted = ip_network(address)
    return any(is_inside(wanted, ip_network(cidr)) for cidr in cidrs)


def _first(items: list[str]) -> str | None:
    return items[0] if items else None
