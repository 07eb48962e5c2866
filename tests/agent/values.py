"""Values for tests: our cluster is east (id 1), our node node-1; peers are west (id 2) and north (id 3)."""

from __future__ import annotations

from dataclasses import replace

from agent.endpoints import Endpoint
from agent.labels import texts
from agent.local import LocalNode
from agent.tables import Tables
from mesh.addressing import ClusterID, ClusterName, Identity, IdentityLayout, PeerScope
from mesh.identity import Labels
from mesh.podlabels import pod_labels

LAYOUT = IdentityLayout(255)
EAST = PeerScope(ClusterName("east"), ClusterID(1), LAYOUT)
NODE = LocalNode(EAST, "node-1", "198.18.1.11")


def tables(*, dual_stack: bool = False) -> Tables:
    return Tables(replace(NODE, dual_stack=dual_stack))


def scope(name: str = "west", number: int = 2) -> PeerScope:
    return PeerScope(ClusterName(name), ClusterID(number), LAYOUT)


def number(cluster: int, index: int) -> Identity:
    """The index-th identity of a cluster."""
    return Identity(LAYOUT.minimum(cluster) + index)


def labels(app: str, cluster: str = "east", namespace: str = "shop") -> Labels:
    return pod_labels(
        {"app": app}, namespace=namespace, namespace_labels={}, service_account="default", cluster=cluster
    )


def endpoint(
    index: int,
    app: str = "web",
    identity: int = 0,
    *,
    named_ports: tuple[tuple[str, str, int], ...] = (),
) -> Endpoint:
    return Endpoint(
        id=index,
        container_id=f"container-{index}",
        interface=f"lxc{index}",
        ifindex=100 + index,
        mac=f"02:00:00:00:00:{index:02x}",
        host_mac=f"02:00:00:00:01:{index:02x}",
        ipv4=f"10.1.1.{index + 1}",
        pod_name=f"{app}-{index}",
        namespace="shop",
        identity=identity or number(1, index),
        labels=tuple(texts(labels(app))),
        pod_uid=f"uid-{index}",
        named_ports=named_ports,
    )
