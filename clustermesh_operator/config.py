"""The operator's settings, checked once: later code trusts them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clustermesh_operator.snapshot import Settings
from mesh.addressing import PeerScope, member_scope
from mesh.errors import MeshError

DEFAULT_CONFIG_DIR = Path("/var/lib/cilium/clustermesh")
DEFAULT_HEALTH_PORT = 9884


class ConfigError(Exception):
    """A setting is missing or contradicts another."""


@dataclass(frozen=True, slots=True)
class Config:
    """`kubeconfig` None: in-cluster."""

    cluster: PeerScope
    settings: Settings
    peers_directory: Path
    kubeconfig: Path | None
    health_host: str
    health_port: int


def local_cluster(name: str, cluster_id: int, max_connected_clusters: int) -> PeerScope:
    """Raises ConfigError unless this can be a member of a mesh."""
    try:
        return member_scope(name, cluster_id, max_connected_clusters)
    except MeshError as error:
        raise ConfigError(str(error)) from error
