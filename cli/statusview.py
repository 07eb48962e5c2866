"""A mesh's status for people and for programs. Pure.

The JSON has the shape that Cilium's own command prints (zero numbers left out there), plus our fields.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cli import cause, lifetime
from cli.cause import Cause, as_objects, causes, full, stopped
from cli.check import Check
from cli.downcontainers import Down
from cli.facts import ClusterFacts
from cli.lifetime import Lifetime
from cli.meshstatus import Connectivity, PeerSummary

HINT = "Run 'clustermesh-dbg status --all-clusters' on the node for details"
MIRROR_HINT = "Run 'clustermesh-apiserver kvstoremesh-dbg troubleshoot' in the pod for details"


@dataclass(frozen=True, slots=True)
class MeshStatus:
    """One moment. `missing`: what of the control plane is not up. `kvstoremesh`: None where it is off."""

    facts: ClusterFacts
    missing: Sequence[str]
    connectivity: Connectivity
    kvstoremesh: Connectivity | None = None
    certificates: Sequence[Lifetime] = ()
    full_stores: Sequence[str] = ()  # control planes whose etcd takes no more writes
    down: Sequence[Down] = ()  # containers of the control plane
    unwritten: Mapping[str, str] = field(default_factory=dict)  # exporter -> why its etcd takes no writes
    unexported: Mapping[str, int] = field(default_factory=dict)  # kind -> objects that no peer is told of

    @property
    def is_ready(self) -> bool:
        is_whole = not (self.missing or self.full_stores or self.down or self.unwritten)
        is_up = is_whole and bool(self.facts.addresses)
        is_valid = all(each.is_good for each in self.certificates)
        return is_up and is_valid and all(reader.is_ready for reader in self.readers)

    @property
    def readers(self) -> list[Connectivity]:
        return [self.connectivity, *([self.kvstoremesh] if self.kvstoremesh else [])]

    @property
    def causes(self) -> list[Cause]:
        facts = self.facts
        ours = [*full(self.full_stores), *stopped(facts.name, self.down, self.unwritten)]
        copied = facts.mirrored if self.kvstoremesh else ()
        found = causes(self.readers, facts.target.flags, facts.name, copied)
        return [*ours, *(each for each in found if not (ours and each.check is Check.CONTROL_PLANE_DOWN))]

    @property
    def peers(self) -> Mapping[str, PeerSummary]:
        """By name. Who reads the peer itself counts: KVStoreMesh where it runs."""
        return {peer.name: peer for reader in self.readers for peer in reader.peers}


def progress(status: MeshStatus) -> str:
    """What is still waited for, in one line."""
    waits = [*status.missing]
    if not status.facts.addresses:
        waits.append("the Service has no address")
    waits += [f"{each.secret} is not valid" for each in status.certificates if not each.is_good]
    for what, reader in zip(("agents", "KVStoreMesh"), status.readers, strict=False):
        if not reader.total:
            waits.append(f"no {what}")
        waits += [
            f"{peer.name}: {min(peer.ready, peer.programmed)}/{reader.total} {what} ready"
            for peer in reader.peers
            if min(peer.ready, peer.programmed) < reader.total
        ]
    waits += [f"{each.check.label} ({each.peer or ', '.join(each.readers)})" for each in status.causes]
    return "; ".join(waits) or "ready"


def as_json(status: MeshStatus) -> dict[str, Any]:
    facts = status.facts
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
    mirror = status.kvstoremesh
    return {
        "access_information": access,
        "connectivity": _connectivity_json(status.connectivity),
        "kvstoremesh": {"enabled": True, "status": _connectivity_json(mirror)}
        if mirror
        else {"enabled": False},
        "ready": status.is_ready,
        "missing": list(status.missing),
        "causes": as_objects(status.causes),
        "unexported": dict(status.unexported),
        "certificates": lifetime.as_objects(list(status.certificates)),
    }


def _connectivity_json(connectivity: Connectivity) -> dict[str, Any]:
    said: dict[str, Any] = {
        "connected": _spread(connectivity.per_pod),
        "clusters": {peer.name: _peer_json(peer) for peer in connectivity.peers},
        "total": connectivity.total,
        "errors": connectivity.errors,
    }
    if connectivity.not_ready:
        said["not_ready"] = connectivity.not_ready
    if connectivity.warnings:
        said["warnings"] = {node: list(texts) for node, texts in connectivity.warnings.items()}
    return said


def as_text(status: MeshStatus) -> str:
    agents, mirror = status.connectivity, status.kvstoremesh
    lines = [*_control_plane(status), "", _readers(agents, "nodes", "No agent found")]
    if mirror:
        lines.append(_readers(mirror, "KVStoreMesh replicas", "No KVStoreMesh replica found"))
    lines += [f"⚠️  {node}: {text}" for node, texts in sorted(agents.warnings.items()) for text in texts]
    lines += lifetime.lines(list(status.certificates))
    lines += ["", *_connections(agents, mirror), *_errors(agents, HINT)]
    if mirror:
        lines += _errors(mirror, MIRROR_HINT)
    if found := status.causes:
        lines += ["", *cause.lines(found)]
    return "\n".join(lines) + "\n"


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
    enabled = "enabled" if status.kvstoremesh else "disabled"
    lines.append(f"ℹ️  KVStoreMesh is {enabled}")  # noqa: RUF001 - the sign that Cilium prints
    if found := ", ".join(f"{count} {kind}" for kind, count in sorted(status.unexported.items())):
        lines.append(f"⚠️  Not exported: {found} (the exporter's log names them: container apiserver)")
    return lines


def _readers(connectivity: Connectivity, what: str, none: str) -> str:
    spread = _spread(connectivity.per_pod)
    text = f"[min:{spread['min']} / avg:{spread['avg']:.1f} / max:{spread['max']}]"
    total = connectivity.total
    if not total:
        return f"❌ {none}"
    if connectivity.not_ready:
        return f"⚠️  {connectivity.not_ready}/{total} {what} are not connected to all clusters {text}"
    return f"✅ All {total} {what} are connected to all clusters {text}"


def _connections(agents: Connectivity, mirror: Connectivity | None) -> list[str]:
    seen = {peer.name: peer for peer in agents.peers}
    copied = {peer.name: peer for peer in mirror.peers} if mirror else {}
    if not seen and not copied:
        return ["🔌 No cluster connected"]
    lines = ["🔌 Cluster Connections:"]
    for name in sorted({*seen, *copied}):
        lines += _peer_text(seen.get(name, PeerSummary(name)), agents.total)
        if mirror:
            lines += _mirror_text(copied.get(name, PeerSummary(name)), mirror.total)
    return lines


def _mirror_text(peer: PeerSummary, total: int) -> list[str]:
    return [
        f"    KVStoreMesh: {peer.configured}/{total} configured, {peer.connected}/{total} connected, "
        f"{peer.ready}/{total} ready{_trip(peer)}{_failures(peer)}",
        *_doubts(peer),
    ]


def _peer_text(peer: PeerSummary, total: int) -> list[str]:
    return [
        f"  - {peer.name}: {peer.configured}/{total} configured, {peer.connected}/{total} connected, "
        f"{peer.ready}/{total} ready, {peer.programmed}/{total} programmed - "
        f"{peer.nodes} nodes, {peer.endpoints} endpoints, {peer.identities} identities, "
        f"{peer.services} services{_trip(peer)}{_failures(peer)}",
        *_doubts(peer),
    ]


def _trip(peer: PeerSummary) -> str:
    return f", round trip {peer.round_trip_ms:.1f} ms" if peer.round_trip_ms else ""


def _failures(peer: PeerSummary) -> str:
    if not peer.failures:
        return ""
    return f", {peer.failures} reconnections (last: {peer.last_failure or 'unknown'})"


def _doubts(peer: PeerSummary) -> list[str]:
    lines = [f"    refused {count}: {reason}" for reason, count in sorted(peer.refused.items())]
    if peer.outside:
        lines.append(f"    {peer.outside} addresses outside of its own nodes and pod CIDRs")
    return lines


def _errors(connectivity: Connectivity, hint: str) -> list[str]:
    if not connectivity.errors:
        return []
    lines = ["", f"❌ {sum(map(len, connectivity.errors.values()))} Errors:"]
    for pod, peers in sorted(connectivity.errors.items()):
        for peer, reasons in sorted(peers.items()):
            what = f"is not connected to cluster {peer}" if peer else "cannot be asked"
            lines += [f"  ❌ {pod} {what}: {reason}" for reason in reasons]
    return [*lines, f"     💡 {hint}"]


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
        "refused_now": dict(peer.refused),
        "outside_addresses": peer.outside,
        "round_trip_ms": peer.round_trip_ms,
    }


def _spread(counts: Sequence[int]) -> dict[str, float]:
    if not counts:
        return {"min": 0, "avg": 0, "max": 0}
    return {"min": min(counts), "avg": sum(counts) / len(counts), "max": max(counts)}
