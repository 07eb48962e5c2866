"""A peer as Cilium's APIs say it: the object RemoteCluster of agents and of KVStoreMesh (spec 8.1). Pure."""

from __future__ import annotations

from collections.abc import Mapping
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
_SYNCED_IF_IMPORTED = {"endpoint-slices": Kind.ENDPOINTSLICES, "service-exports": Kind.SERVICEEXPORTS}
_NUMBERS = {
    Kind.NODES: "num-nodes",
    Kind.IPS: "num-endpoints",
    Kind.IDENTITIES: "num-identities",
    Kind.SERVICES: "num-shared-services",
    Kind.ENDPOINTSLICES: "num-endpoint-slices",
    Kind.SERVICEEXPORTS: "num-service-exports",
}


def remote_cluster(
    name: str, status: PeerStatus, numbers: Mapping[Kind, int], *, is_ready: bool | None = None
) -> dict[str, Any]:
    """Zero and false are left out, as Cilium does. `numbers`: how many entries are held of each kind.

    `is_ready` is said where being ready takes more than a complete connection.
    """
    said: dict[str, Any] = {
        "name": name,
        "connected": status.connected,
        "ready": status.is_ready if is_ready is None else is_ready,
        "status": status.text,
        "config": _config(status),
        "synced": _synced(status),
        **{text: numbers.get(kind, 0) for kind, text in _NUMBERS.items()},
        "num-failures": status.failures,
    }
    return {
        **{key: value for key, value in said.items() if value},
        "last-failure": _time(status.last_failure),
    }


def _synced(status: PeerStatus) -> dict[str, bool]:
    """Services that are not imported hold nothing up; of some kinds only those speak who import them."""
    synced = {text: kind in status.synced for text, kind in _SYNCED.items()}
    synced["services"] |= Kind.SERVICES not in status.kinds
    for text, kind in _SYNCED_IF_IMPORTED.items():
        if kind in status.kinds:
            synced[text] = kind in status.synced
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
