"""One peer as our APIs say it: Cilium's field names (spec 8.1), and a few of our own. Pure.

Our own: `programmed` (what the peer told is where it belongs: an agent's in the kernel, KVStoreMesh's in the
local store), `refusals` (reason -> count), `outside-addresses` (claims outside of the peer's own nodes, now)
and `digests` (equal on members that hold the same). `ready` is only said of what is programmed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mesh.keys import Kind
from peering.status import PeerStatus

NEVER = "0001-01-01T00:00:00Z"  # how Go writes "no time"

_SYNCED = {
    "nodes": Kind.NODES,
    "endpoints": Kind.IPS,
    "identities": Kind.IDENTITIES,
    "services": Kind.SERVICES,
}


@dataclass(frozen=True, slots=True)
class PeerCounts:
    """How much we hold of a peer, and how much we would not take.

    `outside` are addresses and services that are, now, found outside of the peer's own nodes.
    """

    nodes: int
    endpoints: int
    identities: int
    services: int
    slices: int
    outside: int
    refusals: Mapping[str, int]
    digests: Mapping[str, str]
    exports: int = 0


def remote_cluster(name: str, status: PeerStatus, counts: PeerCounts, *, programmed: bool) -> dict[str, Any]:
    """One peer. Zero and false are left out, as Cilium does, except in our own fields."""
    numbers = {
        "num-nodes": counts.nodes,
        "num-endpoints": counts.endpoints,
        "num-identities": counts.identities,
        "num-shared-services": counts.services,
        "num-endpoint-slices": counts.slices,
        "num-service-exports": counts.exports,
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


def _synced(status: PeerStatus) -> dict[str, bool]:
    """Services that are not imported hold nothing up; slices are only spoken of where they are imported."""
    synced = {text: kind in status.synced for text, kind in _SYNCED.items()}
    synced["services"] |= Kind.SERVICES not in status.kinds
    if Kind.ENDPOINTSLICES in status.kinds:
        synced["endpoint-slices"] = Kind.ENDPOINTSLICES in status.synced
    if Kind.SERVICEEXPORTS in status.kinds:
        synced["service-exports"] = Kind.SERVICEEXPORTS in status.synced
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


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else NEVER
