"""The agent's state as its API says it: Cilium's field names (spec 8.1), and a few of our own. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent.ipam import Addresses
from agent.labels import texts
from agent.local import LocalNode
from agent.nodehealth import ClusterHealth, EndpointHealth, NodeHealth
from aiokit.health import HealthStatus
from mesh.identity import Labels
from mesh.node import Node
from peering.rules import CLAIMS_FILE

NEARLY_FULL = 0.9  # of a kernel map: time to look for what fills it
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


def rules(problem: str) -> dict[str, str]:
    """Whether it is known what peers may claim, as it is written now."""
    text = f"{CLAIMS_FILE} cannot be used, what it said before counts: {problem}"
    return simple(WARNING, text) if problem else simple(OK, "")


def cluster(node: LocalNode) -> dict[str, Any]:
    return {
        "name": node.cluster.name,
        "id": node.cluster.cluster_id,
        "self": f"{node.cluster.name}/{node.name}",
    }


def planes(*, connected: bool, health: ClusterHealth) -> dict[str, Any]:
    """Whether the peer's control plane and its nodes answer: two things that fail apart. Our own fields."""
    return {
        "control-plane": "ok" if connected else "lost",
        "data-plane": health.data_plane.value,
        "num-nodes-probed": health.nodes,
        "num-backends-withdrawn": health.backends,
        "nodes-withdrawn": dict(sorted(health.withdrawn.items())),
    }


def services(problems: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Annotations that say nothing we can read."""
    texts = [f"{name}: {', '.join(found)}" for name, found in sorted(problems.items())]
    return simple(WARNING if texts else OK, "; ".join(texts))


def health_ports(problems: Mapping[int, str]) -> dict[str, str]:
    """Where load balancers ask for services' endpoints on this node, and get no answer."""
    texts = [text for _, text in sorted(problems.items())]
    return simple(WARNING if texts else OK, "; ".join(texts))


def maps(pressure: Mapping[str, float], unfit: Mapping[str, int]) -> dict[str, Any]:
    """How full the kernel's maps are; a warning where something has no room, or soon will not."""
    missing = [f"{name} has no room for {count} entries" for name, count in sorted(unfit.items()) if count]
    fullest = max(pressure, key=lambda name: pressure[name], default="")
    share = pressure.get(fullest, 0.0)
    texts = [*missing, *([f"fullest: {fullest}, {share:.1%}"] if fullest else [])]
    state = WARNING if missing or share >= NEARLY_FULL else OK
    sizes = [
        {"name": name, "pressure": round(pressure.get(name, 0.0), 6), "unfit": unfit.get(name, 0)}
        for name in sorted({*pressure, *unfit})
    ]
    return {**simple(state, "; ".join(texts)), "maps": sizes}


def node_probes(
    nodes: Mapping[str, NodeHealth],
    withdrawn: Mapping[str, str],
    name: Callable[[str], str],
    health_addresses: Mapping[str, Addresses],
) -> dict[str, Any]:
    """What probes say of each node behind remote backends, and of its health endpoint if it has one; `name`
    calls an address by its node."""
    endpoints = [endpoint for node in nodes.values() for endpoint in node.endpoints]
    at = {address: health_addresses.get(address, Addresses()) for address in nodes}
    return {
        "reachable": sum(node.state == "reachable" for node in nodes.values()),
        "health-endpoints": len(endpoints),
        "health-endpoints-reachable": sum(endpoint.state == "reachable" for endpoint in endpoints),
        "nodes": [
            {
                "name": name(address),
                "address": address,
                "cluster": node.cluster,
                "state": node.state,
                "milliseconds": round(node.seconds * 1000, 2),
                "withdrawn": withdrawn.get(address, ""),
                "health-endpoint": _endpoint(node.endpoint, at[address].ipv4),
                "health-endpoint-ipv6": _endpoint(node.endpoint6, at[address].ipv6),
            }
            for address, node in sorted(nodes.items())
        ],
    }


def _endpoint(health: EndpointHealth | None, address: str) -> dict[str, Any] | None:
    if health is None:
        return None
    return {"address": address, "state": health.state, "milliseconds": round(health.seconds * 1000, 2)}


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
