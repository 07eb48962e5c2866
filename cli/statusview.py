"""A mesh's status for people and for programs. Pure.

The JSON has the shape that Cilium's own command prints (zero numbers left out there), plus our fields.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cli.facts import ClusterFacts
from cli.meshstatus import Connectivity, PeerSummary

HINT = "clustermesh-dbg status --all-clusters"


@dataclass(frozen=True, slots=True)
class MeshStatus:
    """One moment. `missing`: what of the control plane is not up."""

    facts: ClusterFacts
    missing: Sequence[str]
    connectivity: Connectivity

    @property
    def is_ready(self) -> bool:
        return not self.missing and bool(self.facts.addresses) and self.connectivity.is_ready


def as_json(status: MeshStatus) -> dict[str, Any]:
    facts, connectivity = status.facts, status.connectivity
    access = {
        "service_type": facts.service_type,
        "service_ips": [address.ip for address in facts.addresses],
        "service_port": facts.addresses[0].port if facts.addresses else 0,
        "cluster_id": facts.cluster_id,
        "cluster_name": facts.name,
        "ca": base64.b64encode(facts.trust.pem).decode() if facts.trust else "",
        "tunnel": "vxlan",
        "max_connected_clusters": int(facts.max_connected_clusters)
        if facts.max_connected_clusters.isdigit()
        else 0,
    }
    mesh: dict[str, Any] = {
        "connected": _spread(connectivity.per_agent),
        "clusters": {peer.name: _peer_json(peer) for peer in connectivity.peers},
        "total": connectivity.total,
        "errors": connectivity.errors,
    }
    if connectivity.not_ready:
        mesh["not_ready"] = connectivity.not_ready
    return {
        "access_information": access,
        "connectivity": mesh,
        "kvstoremesh": {"enabled": False},
        "ready": status.is_ready,
        "missing": list(status.missing),
    }


def as_text(status: MeshStatus) -> str:
    return "\n".join([*_control_plane(status), "", *_agents(status.connectivity)]) + "\n"


def _control_plane(status: MeshStatus) -> list[str]:
    facts = status.facts
    if not facts.service_type:
        return [f"❌ The mesh is not enabled: run 'clustermesh enable{facts.target.flags}'"]
    lines = [f'✅ Service "clustermesh-apiserver" of type "{facts.service_type}" found']
    if facts.addresses:
        lines += ["✅ Cluster access information is available:", *(f"  - {each}" for each in facts.addresses)]
    else:
        lines.append("❌ The Service has no address yet")
    lines += [f"❌ {text}" for text in status.missing] or ["✅ Deployment clustermesh-apiserver is ready"]
    return [*lines, "ℹ️  KVStoreMesh is disabled"]  # noqa: RUF001 - the sign that Cilium prints


def _agents(connectivity: Connectivity) -> list[str]:
    spread = _spread(connectivity.per_agent)
    text = f"[min:{spread['min']} / avg:{spread['avg']:.1f} / max:{spread['max']}]"
    total = connectivity.total
    if not total:
        lines = ["❌ No agent found"]
    elif connectivity.not_ready:
        lines = [f"⚠️  {connectivity.not_ready}/{total} nodes are not connected to all clusters {text}"]
    else:
        lines = [f"✅ All {total} nodes are connected to all clusters {text}"]
    return [*lines, "", *_connections(connectivity), *_errors(connectivity)]


def _connections(connectivity: Connectivity) -> list[str]:
    if not connectivity.peers:
        return ["🔌 No cluster connected"]
    return ["🔌 Cluster Connections:", *(_peer_text(peer, connectivity.total) for peer in connectivity.peers)]


def _peer_text(peer: PeerSummary, total: int) -> str:
    line = (
        f"  - {peer.name}: {peer.configured}/{total} configured, {peer.connected}/{total} connected, "
        f"{peer.ready}/{total} ready, {peer.programmed}/{total} programmed - "
        f"{peer.nodes} nodes, {peer.endpoints} endpoints, {peer.identities} identities, "
        f"{peer.services} services"
    )
    if peer.failures:
        line += f", {peer.failures} reconnections (last: {peer.last_failure or 'unknown'})"
    for reason, count in sorted(peer.refusals.items()):
        line += f"\n    refused {count}: {reason}"
    if peer.outside:
        line += f"\n    {peer.outside} addresses outside of its own nodes and pod CIDRs"
    return line


def _errors(connectivity: Connectivity) -> list[str]:
    if not connectivity.errors:
        return []
    lines = ["", f"❌ {sum(map(len, connectivity.errors.values()))} Errors:"]
    for pod, peers in sorted(connectivity.errors.items()):
        for peer, reasons in sorted(peers.items()):
            what = f"is not connected to cluster {peer}" if peer else "cannot be asked"
            lines += [f"  ❌ {pod} {what}: {reason}" for reason in reasons]
    return [*lines, f"     💡 Run '{HINT}' on the node for details"]


def _peer_json(peer: PeerSummary) -> dict[str, Any]:
    return {
        "configured": peer.configured,
        "connected": peer.connected,
        "ready": peer.ready,
        "programmed": peer.programmed,
        "num_nodes": peer.nodes,
        "num_endpoints": peer.endpoints,
        "num_identities": peer.identities,
        "num_shared_services": peer.services,
        "num_failures": peer.failures,
        "last_failure": peer.last_failure,
        "refusals": dict(peer.refusals),
        "outside_addresses": peer.outside,
    }


def _spread(counts: Sequence[int]) -> dict[str, float]:
    if not counts:
        return {"min": 0, "avg": 0, "max": 0}
    return {"min": min(counts), "avg": sum(counts) / len(counts), "max": max(counts)}
