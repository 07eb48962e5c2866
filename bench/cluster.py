"""What a cluster of some size says of itself, in the wire's own encodings. Pure: numbers in, pairs out.

Addresses are dealt out as a cluster does it: each node has a pod CIDR of 256 addresses, its pods are in it.
Everything follows from a `Shape`, so that whoever writes a cluster and whoever waits for it need no other
agreement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mesh import clusterconfig, identity, ipcache, keys, node, service
from mesh.addressing import ClusterID, Identity, IdentityLayout
from mesh.clusterconfig import ClusterConfig
from mesh.identity import CLUSTER_LABEL, K8S, NAMESPACE_LABEL, SERVICE_ACCOUNT_LABEL, Label, SecurityIdentity
from mesh.ipcache import IPEntry
from mesh.keys import Kind
from mesh.node import INTERNAL_IP, Node, NodeAddress
from mesh.service import GlobalService, Port

Pair = tuple[bytes, bytes]

NAMESPACES = 50
PODS_OF_A_NODE = 250  # of the 256 addresses that a node has
_LAYOUT = IdentityLayout()
_HTTP = {"http": Port("TCP", 8080)}
KINDS = (Kind.NODES, Kind.IDENTITIES, Kind.SERVICES, Kind.IPS)


@dataclass(frozen=True, slots=True)
class Shape:
    """How much there is of everything. `backends` are those of each service."""

    endpoints: int = 100_000
    nodes: int = 1_000
    identities: int = 2_000
    services: int = 200
    backends: int = 10

    def __post_init__(self) -> None:
        if self.endpoints > self.nodes * PODS_OF_A_NODE:
            raise ValueError(f"{self.endpoints} endpoints do not fit on {self.nodes} nodes: give more nodes")

    @property
    def total(self) -> int:
        return self.endpoints + self.nodes + self.identities + self.services


def shape_of(endpoints: int, **others: int) -> Shape:
    """The default's proportions, with enough nodes."""
    nodes = max(others.pop("nodes", 1_000), -(-endpoints // PODS_OF_A_NODE))
    return Shape(endpoints=endpoints, nodes=nodes, **others)


class Cluster:
    """One cluster: its pairs by kind, and single entries of it as they change."""

    def __init__(
        self,
        name: str,
        cluster_id: int,
        shape: Shape,
        *,
        first_network: int = 10 << 24,
        cached: bool = False,
    ) -> None:
        """`cached`: as a KVStoreMesh would have it, so that many can stand in one etcd."""
        self.name = name
        self.id = ClusterID(cluster_id)
        self.shape = shape
        self.is_cached = cached
        self._network = first_network
        self._first_identity = _LAYOUT.minimum(cluster_id)

    def config(self) -> Pair:
        said = ClusterConfig(self.id, synced_canaries=True, cached=self.is_cached, max_connected_clusters=255)
        return keys.cluster_config(self.name), clusterconfig.encode(said)

    def pairs(self, kind: Kind) -> Iterator[Pair]:
        """Every entry of a kind under its whole key, without any canary."""
        prefix = self.prefix(kind)
        match kind:
            case Kind.NODES:
                entries = (self._node(number) for number in range(self.shape.nodes))
            case Kind.IDENTITIES:
                entries = (self._identity(number) for number in range(self.shape.identities))
            case Kind.IPS:
                entries = (self.endpoint(number) for number in range(self.shape.endpoints))
            case Kind.SERVICES:
                entries = (self._service(number) for number in range(self.shape.services))
            case _:
                return
        for suffix, value in entries:
            yield prefix + suffix.encode(), value

    def prefix(self, kind: Kind) -> bytes:
        of = keys.cache_prefix if self.is_cached else keys.state_prefix
        return of(kind, self.name)

    def canaries(self) -> Iterator[Pair]:
        for kind in Kind:
            yield keys.synced_key(kind, self.name, cached=self.is_cached), b"2026-01-01T00:00:00Z"

    def address(self, number: int) -> str:
        """Of the pod; beyond the shape's endpoints are addresses that nobody has yet."""
        node_number = number % self.shape.nodes
        return _text(self._network + node_number * 256 + 4 + number // self.shape.nodes)

    def node_address(self, number: int) -> str:
        return _text((172 << 24 | 16 << 16) + (self.id << 12) % (1 << 20) + number)

    def endpoint(self, number: int, version: int = 0) -> tuple[str, bytes]:
        """Suffix and value of a pod's entry. Another `version` has another identity."""
        ip = self.address(number)
        entry = IPEntry(
            ip=ip,
            mask=None,
            identity=self.identity_of(number, version),
            host_ip=self.node_address(number % self.shape.nodes),
            namespace=f"namespace-{number % NAMESPACES}",
            pod_name=f"deployment-{number // 20}-{number * 2654435761 % 2**32:08x}-{number % 99991:05}",
            service_account="default",
            metadata="",
        )
        return ipcache.encode(entry)

    def identity_of(self, number: int, version: int = 0) -> Identity:
        """Scattered over the nodes, as a scheduler does it: a node and an identity rarely meet twice."""
        return self._identity_number((number * 2654435761 >> 7) + version)

    def _identity_number(self, number: int) -> Identity:
        return Identity(self._first_identity + 1 + number % self.shape.identities)

    def _node(self, number: int) -> tuple[str, bytes]:
        addresses = (
            NodeAddress(INTERNAL_IP, self.node_address(number)),
            NodeAddress("CiliumInternalIP", _text(self._network + number * 256 + 1)),
        )
        told = Node(
            name=f"node-{number}",
            cluster=self.name,
            cluster_id=self.id,
            addresses=addresses,
            ipv4_pod_cidr=f"{_text(self._network + number * 256)}/24",
            ipv4_health_ip=_text(self._network + number * 256 + 2),
            source="custom-resource",
            labels={"kubernetes.io/hostname": f"node-{number}", "topology.kubernetes.io/zone": "a"},
            boot_id="7a0f3d0c-5f0e-4c53-9d4c-0123456789ab",
        )
        return node.encode(told)

    def _identity(self, number: int) -> tuple[str, bytes]:
        labels = (
            Label(K8S, "app", f"app-{number}"),
            Label(K8S, CLUSTER_LABEL, self.name),
            Label(K8S, SERVICE_ACCOUNT_LABEL, "default"),
            Label(K8S, NAMESPACE_LABEL, f"namespace-{number % NAMESPACES}"),
        )
        return identity.encode(SecurityIdentity(self._identity_number(number), labels))

    def _service(self, number: int) -> tuple[str, bytes]:
        first = number * self.shape.backends
        spread = max(1, self.shape.endpoints)
        backends = {self.address((first + n) % spread): _HTTP for n in range(self.shape.backends)}
        namespace, name = service_name(number)
        told = GlobalService(self.name, namespace, name, {}, backends, cluster_id=self.id)
        return service.encode(told)


def service_name(number: int) -> tuple[str, str]:
    """Namespace and name: the same in every cluster, for that is what makes services one."""
    return f"namespace-{number % NAMESPACES}", f"service-{number}"


def _text(number: int) -> str:
    return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
