"""What the agent says to Prometheus. Pure.

Cilium's names and labels where it has them; what only we have begins with `clustermesh_`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agent.nodehealth import ClusterHealth
from bpf.metrics_map import FIRST_DROP, FORWARDED
from peering import metric
from peering.report import PeerCounts
from peering.status import PeerStatus

PREFIX = "cilium"
_CILIUM = "cilium_clustermesh_remote_cluster"
_CONNECTIVITY = {"reachable": "reachable", "silent": "unreachable", "unknown": "unknown"}  # Cilium's words
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def mesh(source: str, clusters: int) -> dict[str, float]:
    """How many clusters are configured beside our own, `source`."""
    return {f"{_CILIUM}s{labels(source_cluster=source)}": clusters}


def peer(
    source: str, target: str, status: PeerStatus, counts: PeerCounts, *, programmed: bool
) -> dict[str, float]:
    """Everything about one peer. `programmed`: the kernel has all that it told us."""
    at = labels(source_cluster=source, target_cluster=target)
    values = {
        f"{_CILIUM}_nodes{at}": counts.nodes,
        f"{_CILIUM}_endpoints{at}": counts.endpoints,
        f"{_CILIUM}_services{at}": counts.services,
        **{f"{_CILIUM}_{end}{at}": value for end, value in metric.values(status).items()},
        f"clustermesh_remote_cluster_identities{at}": counts.identities,
        f"clustermesh_remote_cluster_programmed{at}": programmed,
        f"clustermesh_remote_cluster_outside_addresses{at}": counts.outside,
    }
    for reason, count in counts.refusals.items():
        refused = labels(source_cluster=source, target_cluster=target, reason=reason)
        values[f"clustermesh_refusals_total{refused}"] = count
    return values


def withdrawals(source: str, target: str, health: ClusterHealth) -> dict[str, float]:
    """What is not used because nodes of a peer do not answer."""
    at = labels(source_cluster=source, target_cluster=target)
    return {
        f"clustermesh_remote_cluster_nodes_probed{at}": health.nodes,
        f"clustermesh_remote_cluster_nodes_withdrawn{at}": len(health.withdrawn),
        f"clustermesh_remote_cluster_backends_withdrawn{at}": health.backends,
    }


def connectivity(source: str, node: str, peers: Iterable[ClusterHealth]) -> dict[str, float]:
    """How many nodes of peers, and health endpoints behind them, are in each state: Cilium's metric."""
    known = list(peers)
    values: dict[str, float] = {}
    for kind in ("node", "endpoint"):
        for state, called in _CONNECTIVITY.items():
            counts = [health.states if kind == "node" else health.endpoint_states for health in known]
            at = labels(source_cluster=source, source_node_name=node, type=kind, status=called)
            values[f"cilium_node_health_connectivity_status{at}"] = sum(c.get(state, 0) for c in counts)
    return values


def map_pressure(filled: Mapping[str, float]) -> dict[str, float]:
    """How full each kernel map is, 0 to 1; above 1 where more is wanted than fits."""
    return {f"cilium_bpf_map_pressure{labels(map_name=name)}": share for name, share in filled.items()}


def map_unfit(missing: Mapping[str, int]) -> dict[str, float]:
    """How many entries each kernel map has no room for."""
    return {f"clustermesh_bpf_map_unfit{labels(map_name=name)}": count for name, count in missing.items()}


def packets(counted: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """What the kernel's programs counted, by reason: Cilium's metrics. What is no packet's end, as a service
    without backends, and a bind refused to a process of the node, is ours."""
    values: dict[str, float] = {}
    for each in counted:
        if each["number"] == FORWARDED:
            at = labels(direction=each["direction"])
            values[f"cilium_forward_count_total{at}"] = each["packets"]
            values[f"cilium_forward_bytes_total{at}"] = each["bytes"]
        elif each["number"] >= FIRST_DROP:
            at = labels(direction=each["direction"], reason=each["reason"])
            values[f"cilium_drop_count_total{at}"] = each["packets"]
            values[f"cilium_drop_bytes_total{at}"] = each["bytes"]
        else:
            values[f"clustermesh_service_refusals_total{labels(reason=each['reason'])}"] = each["packets"]
    return values


def labels(**pairs: str) -> str:
    """`{name="value",…}`; values come from peers' data and are escaped."""
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in pairs.items()) + "}"


def text(values: Mapping[str, float]) -> str:
    """Prometheus' text form. Names carry their labels."""
    return "".join(f"{name} {value:.17g}\n" for name, value in sorted(values.items()))
