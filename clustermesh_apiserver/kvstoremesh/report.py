"""What KVStoreMesh says of itself: one frozen report for readiness, the API and metrics. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clustermesh_apiserver.kvstoremesh.remote_cluster import RemoteCluster
from kvstore.syncstore import SyncStatus
from mesh.keys import Kind
from peering.report import PeerCounts, remote_cluster
from peering.status import PeerStatus


@dataclass(frozen=True, slots=True)
class RemoteReport:
    """One peer. `stored` is empty while there is no session with our etcd."""

    name: str
    status: PeerStatus
    counts: PeerCounts
    is_stored: bool
    stored: Mapping[Kind, SyncStatus]


@dataclass(frozen=True, slots=True)
class Report:
    """`ready`: everything was copied once. `bootstrap_seconds` is 0 until then."""

    cluster: str
    ready: bool
    is_leading: bool
    bootstrap_seconds: float
    remotes: tuple[RemoteReport, ...]


def remote_report(name: str, status: PeerStatus, remote: RemoteCluster) -> RemoteReport:
    held = {kind: len(reflector.held) for kind, reflector in remote.reflectors.items()}
    counts = PeerCounts(
        nodes=held[Kind.NODES],
        endpoints=held[Kind.IPS],
        identities=held[Kind.IDENTITIES],
        services=held[Kind.SERVICES],
        slices=held[Kind.ENDPOINTSLICES],
        exports=held[Kind.SERVICEEXPORTS],
        outside=0,
        refusals=dict(remote.refusals),
        refused_now=dict(remote.refused_now),
        digests={kind.name.lower(): reflector.digest for kind, reflector in remote.reflectors.items()},
    )
    return RemoteReport(name, status, counts, remote.is_stored, remote.stored())


def clusters(report: Report) -> list[dict[str, Any]]:
    """The answer to GET /v1/cluster: Cilium's RemoteClusters (spec 8.1)."""
    return [
        remote_cluster(remote.name, remote.status, remote.counts, programmed=remote.is_stored)
        for remote in report.remotes
    ]
