"""What an earlier life of the agent left in the kernel, until those who own it have spoken. Pure.

After kill -9 the maps are full and traffic flows; we know nothing yet. So everything found is wanted at
first (rule 1: unknown is never empty), and each entry is let go when nobody who has not been listed yet
could own it: entries of our own cluster once Kubernetes is listed, entries of a peer once that peer is
listed or removed from the configuration. There is no time limit: a peer that stays away keeps its
entries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mesh.addressing import FIRST_ALLOCATED, ClusterID, Identity, IdentityLayout


@dataclass(frozen=True, slots=True)
class Silent:
    """Who has not been listed yet. `unknown`: a configured peer whose cluster id we do not know either,
    or the configuration itself has not been read."""

    own: bool
    unknown: bool
    clusters: frozenset[ClusterID]

    @property
    def anybody(self) -> bool:
        return self.own or self.unknown or bool(self.clusters)


def silent(
    *, own_is_listed: bool, configuration_is_read: bool, peers: Iterable[tuple[ClusterID | None, bool]]
) -> Silent:
    """`peers` are (cluster id if known, is listed)."""
    waiting = [cluster for cluster, is_listed in peers if not is_listed]
    return Silent(
        own=not own_is_listed,
        unknown=not configuration_is_read or None in waiting,
        clusters=frozenset(cluster for cluster in waiting if cluster is not None),
    )


def cluster_of(identity: int, layout: IdentityLayout) -> ClusterID | None:
    """The cluster that allocated an identity; None for a reserved one."""
    return layout.cluster_of(Identity(identity)) if identity >= FIRST_ALLOCATED else None


def may_be_owned(
    cluster: ClusterID | None, who: Silent, own: ClusterID, listed: frozenset[ClusterID]
) -> bool:
    """Whether an entry of `cluster` (None: it does not show whose) may belong to somebody silent."""
    if cluster is None:
        return who.anybody
    if cluster == own:
        return who.own
    return cluster in who.clusters or (who.unknown and cluster not in listed)
