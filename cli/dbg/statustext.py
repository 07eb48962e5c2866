"""An agent's state in words: the layout of `cilium-dbg status`, its mesh part exactly. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cli.agentreport import RemoteCluster, RemoteConfig, Synced

COMPONENTS = {
    "kvstore": "KVStore",
    "kubernetes": "Kubernetes",
    "cilium": "Cilium",
    "datapath": "Datapath",
    "policy": "Policy",
}
_FINE = frozenset({"Ok", "Disabled"})
_WIDTH = 25


def brief(status: Mapping[str, Any]) -> str:
    """`OK`, or the first component that is not well. A policy's trouble is not the agent's."""
    for component in COMPONENTS:
        found = status.get(component)
        if component != "policy" and found and found.get("state") not in _FINE:
            return f"error in {component}: {found.get('msg', '')}"
    return "OK"


def full(status: Mapping[str, Any], peers: Sequence[RemoteCluster], *, all_clusters: bool) -> str:
    """Without `all_clusters` only peers that are not ready get their details."""
    lines = []
    for component, title in COMPONENTS.items():
        if found := status.get(component):
            lines.append(_line(title, f"{found.get('state', ''):<8} {found.get('msg', '')}"))
    if cluster := status.get("cluster"):
        lines.append(_line("Cluster", f"{cluster.get('name', '')}   {cluster.get('self', '')}"))
    if ipam := status.get("ipam"):
        lines.append(_line("IPAM", str(ipam.get("status", ""))))
    ready = sum(peer.ready for peer in peers)
    lines.append(_line("ClusterMesh", f"{ready}/{len(peers)} remote clusters ready"))
    for peer in peers:
        if all_clusters or peer.needs_a_look:
            lines += _peer(peer)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _line(title: str, text: str) -> str:
    return f"{title + ':':<{_WIDTH}}{text}"


def _peer(peer: RemoteCluster) -> Iterator[str]:
    yield (
        f"   {peer.name}: {'ready' if peer.ready else 'not-ready'}, {peer.num_nodes} nodes, "
        f"{peer.num_endpoints} endpoints, {peer.num_identities} identities, "
        f"{peer.num_shared_services} services, {peer.num_endpoint_slices} endpoint slices, "
        f"{peer.num_service_exports} MCS-API service exports, "
        f"{peer.num_failures} reconnections (last: {peer.failed_at or 'never'})"
    )
    yield f"   └  {peer.status}"
    yield f"   └  remote configuration: {_config(peer.config)}"
    if peer.synced is not None:
        yield f"   └  synchronization status: {_synced(peer.synced)}"
    if peer.programmed is not None:
        yield f"   └  programmed in the kernel: {_bool(peer.programmed)}"
    for reason, count in sorted(peer.refusals.items()):
        yield f"   └  refused {count}: {reason}"
    if peer.outside_addresses:
        yield f"   └  {peer.outside_addresses} addresses outside of its own nodes and pod CIDRs"


def _config(config: RemoteConfig | None) -> str:
    if config is None:
        return "expected=unknown, retrieved=unknown"
    text = f"expected={_bool(config.required)}, retrieved={_bool(config.retrieved)}"
    if not config.retrieved:
        return text
    exports = {None: "unsupported", True: "enabled", False: "disabled"}[config.service_exports_enabled]
    return (
        f"{text}, cluster-id={config.cluster_id}, kvstoremesh={_bool(config.kvstoremesh)}, "
        f"sync-canaries={_bool(config.sync_canaries)}, service-exports={exports}, "
        f"endpoint-slice-export-mode={config.endpoint_slices_export_mode or 'services-only'}"
    )


def _synced(synced: Synced) -> str:
    parts = {
        "nodes": synced.nodes,
        "endpoints": synced.endpoints,
        "identities": synced.identities,
        "services": synced.services,
        "service-exports": synced.service_exports,
        "endpoint-slices": synced.endpoint_slices,
    }
    return ", ".join(f"{name}={_bool(done)}" for name, done in parts.items() if done is not None)


def _bool(value: bool) -> str:
    return "true" if value else "false"
