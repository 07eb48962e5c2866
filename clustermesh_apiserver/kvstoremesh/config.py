"""KVStoreMesh's settings: frozen, and usable once they exist."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from clustermesh_apiserver.kvstoremesh.readiness import Patience
from clustermesh_apiserver.pace import Pace
from kvstore.config import EtcdConfig
from mesh.addressing import PeerScope


@dataclass(frozen=True, slots=True)
class MirrorConfig:
    """All that `clustermesh-apiserver kvstoremesh` needs to know. `etcd` is our own."""

    cluster: PeerScope
    etcd: EtcdConfig
    peers_directory: Path
    lease_ttl_seconds: int = 900
    cache_ttl_seconds: float = 0.0  # 0: never
    patience: Patience = field(default_factory=Patience)
    pace: Pace | None = None
    shares_store: bool = False  # with other replicas: one of them writes
    beats: bool = False  # write the heartbeat, too: where no exporter does
    drains: bool = True  # clean up after clusters that are removed from the configuration
    api: tuple[str, int] = ("localhost", 9889)
    metrics: tuple[str, int] | None = None  # beside the health port
    health_host: str = "0.0.0.0"  # the kubelet probes the pod's address
    health_port: int = 9881
