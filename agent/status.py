"""The agent's state as its API says it: Cilium's field names (spec 8.1), and a few of our own. Pure.

Our own in a remote cluster: `programmed` (what the peer told is in the kernel), `refusals` (reason ->
count), `outside-addresses` (claims outside of the peer's own nodes, now) and `digests` (equal on members
that hold the same). `ready` is only said of what is programmed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.labels import texts
from agent.local import LocalNode
from agent.peercounts import PeerCounts
from aiokit.health import HealthStatus
from mesh.identity import Labels
from mesh.keys import Kind
from mesh.node import Node
from peering import remotecluster
from peering.status import PeerStatus

OK, WARNING, FAILURE, DISABLED = "Ok", "Warning", "Failure", "Disabled"


def policies(
    count: int, unsupported: Mapping[str, Sequence[str]], refused: Mapping[str, str]
) -> dict[str, str]:
    """What whoever wrote a policy must know: which parts of it do nothing here."""
    partly = [f"{name} in part not enforced: {', '.join(parts)}" for name, parts in unsupported.items()]
    refusals = [f"{name} refused: {reason}" for name, reason in sorted(refused.items())]
    troubles = partly + refusals
    return simple(WARNING if troubles else OK, "; ".join([f"{count} policies", *troubles]))


def simple(state: str, message: str) -> dict[str, str]:
    return {"state": state, "msg": message}


def from_health(health: HealthStatus) -> dict[str, str]:
    if health.level == "ok":
        return simple(OK, health.text)
    return simple(WARNING, f"{health.text}: {health.error}" if health.error else health.text)


def cluster(node: LocalNode) -> dict[str, Any]:
    return {
        "name": node.cluster.name,
        "id": node.cluster.cluster_id,
        "self": f"{node.cluster.name}/{node.name}",
    }


def remote_cluster(name: str, status: PeerStatus, counts: PeerCounts, *, programmed: bool) -> dict[str, Any]:
    """One peer. Our own fields are said also when they are zero or false."""
    numbers = {
        Kind.NODES: counts.nodes,
        Kind.IPS: counts.endpoints,
        Kind.IDENTITIES: counts.identities,
        Kind.SERVICES: counts.services,
        Kind.ENDPOINTSLICES: counts.slices,
    }
    return {
        **remotecluster.remote_cluster(name, status, numbers, is_ready=status.is_ready and programmed),
        "programmed": programmed,
        "refusals": dict(counts.refusals),
        "outside-addresses": counts.outside,
        "digests": dict(counts.digests),
    }


def identity(number: int, labels: Labels) -> dict[str, Any]:
    return {"id": number, "labels": texts(labels)}


def node(element: Node, source: str, *, qualified: bool) -> dict[str, Any]:
    """A NodeElement; peers' nodes carry their cluster's name."""
    return {
        "name": f"{element.cluster}/{element.name}" if qualified else element.name,
        "cluster": element.cluster,
        "primary-address": {
            "ipv4": {"ip": element.internal_ip(4) or "", "alloc-range": element.ipv4_pod_cidr or ""},
            "ipv6": {"ip": element.internal_ip(6) or "", "alloc-range": element.ipv6_pod_cidr or ""},
        },
        "health-endpoint-address": {"ipv4": element.ipv4_health_ip, "ipv6": element.ipv6_health_ip},
        "source": source,
    }
