"""The state of the mesh as one cluster's readers see it, its agents or its KVStoreMesh, summed up. Pure.

A peer that nobody speaks of is a fault, not an absence: what is expected comes from the peers' Secret.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from peering.clusterreport import RemoteCluster

UNKNOWN = "unknown status"


@dataclass(frozen=True, slots=True)
class PeersView:
    """The peers as one pod sees them; `error` says why it could not be asked."""

    pod: str
    node: str
    peers: Sequence[RemoteCluster] = ()
    error: str = ""
    warnings: Sequence[str] = ()  # of its node


@dataclass(frozen=True, slots=True)
class PeerSummary:
    """One peer over all pods. Counts are the largest that any pod holds."""

    name: str
    configured: int = 0
    connected: int = 0
    ready: int = 0
    programmed: int = 0
    nodes: int = 0
    endpoints: int = 0
    identities: int = 0
    services: int = 0
    failures: int = 0
    last_failure: str = ""
    refusals: Mapping[str, int] = field(default_factory=dict)  # ever
    refused: Mapping[str, int] = field(default_factory=dict)  # now
    outside: int = 0  # addresses that it claims outside of its own nodes and pod CIDRs
    round_trip_ms: float = 0.0  # the longest; 0: nobody measured it


@dataclass(frozen=True, slots=True)
class Connectivity:
    """`errors`: pod -> peer -> why. `per_pod`: to how many peers each is connected. `warnings`: by node, what
    is wrong there beside the mesh."""

    total: int
    not_ready: int
    peers: Sequence[PeerSummary]
    per_pod: Sequence[int]
    errors: Mapping[str, Mapping[str, Sequence[str]]]
    warnings: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def is_ready(self) -> bool:
        return self.total > 0 and self.not_ready == 0 and not self.errors


def summed(views: Sequence[PeersView], expected: Iterable[str]) -> Connectivity:
    """All pods' views of all peers that are configured or reported."""
    names = sorted({*expected, *(peer.name for view in views for peer in view.peers)})
    errors = {view.pod: found for view in views if (found := _errors(view, names))}
    return Connectivity(
        total=len(views),
        not_ready=len(errors),
        peers=[_peer(name, views) for name in names],
        per_pod=[sum(peer.is_usable for peer in view.peers) for view in views],
        errors=errors,
        warnings={view.node or view.pod: view.warnings for view in views if view.warnings},
    )


def _errors(view: PeersView, names: Sequence[str]) -> dict[str, list[str]]:
    if view.error:
        return {"": [view.error]}
    known = {peer.name: peer for peer in view.peers}
    hindrances = {name: known[name].hindrance if name in known else UNKNOWN for name in names}
    return {name: [text] for name, text in hindrances.items() if text}


def _peer(name: str, views: Sequence[PeersView]) -> PeerSummary:
    found = [peer for view in views for peer in view.peers if peer.name == name]
    return PeerSummary(
        name,
        configured=len(found),
        connected=sum(peer.connected for peer in found),
        ready=sum(peer.ready for peer in found),
        programmed=sum(peer.ready and peer.programmed is not False for peer in found),
        nodes=max((peer.num_nodes for peer in found), default=0),
        endpoints=max((peer.num_endpoints for peer in found), default=0),
        identities=max((peer.num_identities for peer in found), default=0),
        services=max((peer.num_shared_services for peer in found), default=0),
        failures=sum(peer.num_failures for peer in found),
        last_failure=max((peer.failed_at for peer in found), default=""),
        refusals=_added(peer.refusals for peer in found),
        refused=_added(peer.refused for peer in found),
        outside=max((peer.outside_addresses for peer in found), default=0),
        round_trip_ms=max((peer.round_trip_ms for peer in found), default=0.0),
    )


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for each in counts:
        sums.update(each)
    return dict(sums)
