"""What a buggy or malicious writer may store, and no reader may take: each is refused for another reason."""

from __future__ import annotations

from mesh import identity, ipcache, node, service
from mesh.addressing import ClusterID, Identity
from mesh.ipcache import IPEntry
from mesh.keys import Kind
from mesh.node import Node, NodeAddress
from mesh.service import GlobalService
from tests.agent.values import labels, number
from tests.simulation.source import ClusterSource


def bad_values(source: ClusterSource) -> list[tuple[Kind, bytes, bytes]]:
    own, other = source.identity(0), number(source.id + 1, 7)

    def ip(address: str, who: int, key: str = "") -> tuple[Kind, bytes, bytes]:
        suffix, value = ipcache.encode(IPEntry(address, None, Identity(who), source.node_ip(0)))
        return Kind.IPS, (key or suffix).encode(), value

    def elsewhere(name: str, cluster_id: int) -> tuple[Kind, bytes, bytes]:
        address = NodeAddress("InternalIP", source.node_ip(0))
        suffix, value = node.encode(Node("node-0", name, ClusterID(cluster_id), (address,)))
        return Kind.NODES, suffix.encode(), value

    def labelled(who: int, cluster: str) -> tuple[Kind, bytes, bytes]:
        suffix, value = identity.encode(identity.SecurityIdentity(Identity(who), labels("evil", cluster)))
        return Kind.IDENTITIES, suffix.encode(), value

    def web(name: str, cluster_id: int) -> tuple[Kind, bytes, bytes]:
        value = GlobalService(name, "shop", "web", cluster_id=ClusterID(cluster_id))
        return Kind.SERVICES, b"shop/web", service.encode(value)[1]

    stable, fresh = source.ip(0), f"10.{source.number}.9.9"
    return [
        ip(stable, other),
        ip(stable, 2),
        ip(fresh, other),
        ip(fresh, int(number(1, 3))),
        ip("192.0.2.1", 2),
        ip(fresh, own, key=f"10.{source.number}.9.8"),
        (Kind.IPS, stable.encode(), b"{"),
        (Kind.IPS, b"no address", b"no json"),
        elsewhere("other", source.id),
        elsewhere(source.name, source.id + 1),
        (Kind.NODES, b"node-0", b"[]"),
        labelled(other, source.name),
        labelled(int(number(1, 3)), "east"),
        labelled(own, "east"),
        web("east", 1),
        web(source.name, source.id + 1),
        (Kind.SERVICES, b"shop/web", b"\xff"),
    ]
