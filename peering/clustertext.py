"""Peers in words, exactly as `cilium-dbg status` has them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from peering.clusterreport import RemoteCluster, RemoteConfig, Synced


def lines(title: str, peers: Sequence[RemoteCluster], *, all_clusters: bool) -> Iterator[str]:
    """`title` comes before the count. Without `all_clusters` only peers that need a look get details."""
    ready = sum(peer.ready for peer in peers)
    yield f"{title}{ready}/{len(peers)} remote clusters ready"
    for peer in peers:
        if all_clusters or peer.needs_a_look:
            yield from _peer(peer)


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
        yield f"   └  programmed: {_bool(peer.programmed)}"
    for reason, count in sorted(peer.refused.items()):
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
