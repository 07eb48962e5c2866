"""One peer as our own APIs say it: Cilium's RemoteCluster, and a few fields more. Pure.

Ours are `programmed` (what the peer told is where it belongs: an agent's in the kernel, KVStoreMesh's in the
local store), `refusals` (reason -> count, ever), `refused-now` (the same of what the peer's etcd has now),
`outside-addresses` (claims outside of the peer's own nodes, now),
`digests` (equal on members that hold the same) and `round-trip-ms` (one read of its etcd, when connected).
`ready` is only said of what is programmed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mesh.keys import Kind
from peering import remotecluster
from peering.status import PeerStatus


@dataclass(frozen=True, slots=True)
class PeerCounts:
    """How much we hold of a peer, and how much we would not take.

    `outside` are addresses and services that are, now, found outside of the peer's own nodes; `refused_now`
    is what the peer has now and is not taken, or taken with a doubt. `refusals` counts what ever was.
    """

    nodes: int
    endpoints: int
    identities: int
    services: int
    slices: int
    outside: int
    refusals: Mapping[str, int]
    digests: Mapping[str, str]
    refused_now: Mapping[str, int]
    exports: int = 0


def remote_cluster(name: str, status: PeerStatus, counts: PeerCounts, *, programmed: bool) -> dict[str, Any]:
    """One peer. Our own fields are said also when they are zero or false."""
    numbers = {
        Kind.NODES: counts.nodes,
        Kind.IPS: counts.endpoints,
        Kind.IDENTITIES: counts.identities,
        Kind.SERVICES: counts.services,
        Kind.ENDPOINTSLICES: counts.slices,
        Kind.SERVICEEXPORTS: counts.exports,
    }
    is_ready = status.is_ready and programmed
    return {
        **remotecluster.remote_cluster(name, status, numbers, is_ready=is_ready),
        "programmed": programmed,
        "refusals": dict(counts.refusals),
        "refused-now": dict(counts.refused_now),
        "outside-addresses": counts.outside,
        "digests": dict(counts.digests),
        "round-trip-ms": round(status.round_trip * 1000, 3),
    }
