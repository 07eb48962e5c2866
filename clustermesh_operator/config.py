"""The operator's settings, checked once: later code trusts them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clustermesh_operator.snapshot import Settings
from mesh.addressing import ClusterID, IdentityLayout, PeerScope, parse_cluster_name
from mesh.errors import MeshError

DEFAULT_CONFIG_DIR = Path("/var/lib/cilium/clustermesh")
DEFAULT_HEALTH_PORT = 9884
UNSET_NAME = "default"


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


def local_cluster(name: str, number: int, max_connected_clusters: int) -> PeerScope:
    """Raises ConfigError unless this can be a member of a mesh."""
    try:
        layout = IdentityLayout(max_connected_clusters)
        checked = parse_cluster_name(name)
    except MeshError as error:
        raise ConfigError(str(error)) from error
    problem = layout.check_cluster_id(number)
    if problem:
        raise ConfigError(f"--cluster-id {number}: {problem}")
    if checked == UNSET_NAME:
        raise ConfigError(f"--cluster-name {UNSET_NAME} is reserved for clusters outside a mesh")
    return PeerScope(checked, ClusterID(number), layout)
