"""The agent's state as its API says it: Cilium's field names (spec 8.1), and a few of our own. Pure.

Our own in a remote cluster: `programmed` (what the peer told is in the kernel), `refusals` (reason ->
count), `outside-addresses` (claims outside of the peer's own nodes, now) and `digests` (equal on members
that hold the same). `ready` is only said of what is programmed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from agent.labels import texts
from agent.local import LocalNode
from agent.nodehealth import ClusterHealth
from agent.peercounts import PeerCounts
from aiokit.health import HealthStatus
from mesh.identity import Labels
from mesh.keys import Kind
from mesh.node import Node
from peering.status import PeerStatus

NEVER = "0001-01-01T00:00:00Z"  # how Go writes "no time"

OK, WARNING, FAILURE, DISABLED = "Ok", "Warning", "Failure", "Disabled"

_SYNCED = {
    "nodes": Kind.NODES,
    "endpoints": Kind.IPS,
    "identities": Kind.IDENTITIES,
    "services": Kind.SERVICES,
}


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
    """One peer. Zero and false are left out, as Cilium does, except in our own fields."""
    numbers = {
        "num-nodes": counts.nodes,
        "num-endpoints": counts.endpoints,
        "num-identities": counts.identities,
        "num-shared-services": counts.services,
        "num-endpoint-slices": counts.slices,
        "num-failures": status.failures,
    }
    said: dict[str, Any] = {
        "name": name,
        "connected": status.connected,
        "ready": status.is_ready and programmed,
        "status": status.text,
        "config": _config(status),
        "synced": _synced(status),
        **numbers,
    }
    return {
        **{key: value for key, value in said.items() if value},
        "last-failure": _time(status.last_failure),
        "programmed": programmed,
        "refusals": dict(counts.refusals),
        "outside-addresses": counts.outside,
        "digests": dict(counts.digests),
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


def _synced(status: PeerStatus) -> dict[str, bool]:
    """Services that are not imported hold nothing up; slices are only spoken of where they are imported."""
    synced = {text: kind in status.synced for text, kind in _SYNCED.items()}
    synced["services"] |= Kind.SERVICES not in status.kinds
    if Kind.ENDPOINTSLICES in status.kinds:
        synced["endpoint-slices"] = Kind.ENDPOINTSLICES in status.synced
    return synced


def _config(status: PeerStatus) -> dict[str, Any]:
    config: dict[str, Any] = {"required": status.config_required, "retrieved": status.config_retrieved}
    remote = status.config
    if remote is not None:
        config["cluster-id"] = remote.id
        config["kvstoremesh"] = remote.cached
        config["sync-canaries"] = remote.synced_canaries
        config["endpoint-slices-export-mode"] = remote.endpoint_slices_export_mode
        if remote.service_exports_enabled is not None:
            config["service-exports-enabled"] = remote.service_exports_enabled
    return config


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


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else NEVER
