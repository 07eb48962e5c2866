"""What one agent says of its peers: the part of its status that we show. Lenient with other versions."""

from __future__ import annotations

import msgspec

from peering.clusterreport import RemoteCluster


class _ClusterMesh(msgspec.Struct):
    clusters: list[RemoteCluster] = []


class _Status(msgspec.Struct, rename="kebab"):
    cluster_mesh: _ClusterMesh = msgspec.field(default_factory=_ClusterMesh)


def mirrored(body: bytes) -> list[RemoteCluster]:
    """The peers in KVStoreMesh's answer to GET /v1/cluster. Raises ValueError when it is no such answer."""
    return msgspec.json.decode(body, type=list[RemoteCluster])


def peers(body: bytes) -> list[RemoteCluster]:
    """The peers in an agent's answer to GET /v1/healthz. Raises ValueError when it is no such answer."""
    return msgspec.json.decode(body, type=_Status).cluster_mesh.clusters
