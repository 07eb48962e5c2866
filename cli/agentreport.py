"""What one agent says of its peers: the part of its status that we show. Lenient with other versions."""

from __future__ import annotations

import msgspec

from peering.clusterreport import RemoteCluster

WARNING = "Warning"


class _ClusterMesh(msgspec.Struct):
    clusters: list[RemoteCluster] = []


class _Component(msgspec.Struct):
    state: str = "Ok"
    msg: str = ""


class _Status(msgspec.Struct, rename="kebab"):
    cluster_mesh: _ClusterMesh = msgspec.field(default_factory=_ClusterMesh)
    health_ports: _Component = msgspec.field(default_factory=_Component)
    bpf_maps: _Component = msgspec.field(default_factory=_Component)


def mirrored(body: bytes) -> list[RemoteCluster]:
    """The peers in KVStoreMesh's answer to GET /v1/cluster. Raises ValueError when it is no such answer."""
    return msgspec.json.decode(body, type=list[RemoteCluster])


def peers(body: bytes) -> list[RemoteCluster]:
    """The peers in an agent's answer to GET /v1/healthz. Raises ValueError when it is no such answer."""
    return msgspec.json.decode(body, type=_Status).cluster_mesh.clusters


def warnings(body: bytes) -> list[str]:
    """What is wrong with the node itself, though it follows its peers: from the same answer as `peers`."""
    found = msgspec.json.decode(body, type=_Status)
    return [each.msg for each in (found.health_ports, found.bpf_maps) if each.state == WARNING and each.msg]
