"""Which clusters serve: tiers of them, taken in order until one has enough (spec 5.1). Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from mesh.matching import Backend
from mesh.offer import OURS, UNNAMED
from mesh.preference import OTHERS, OWN, Affinity, Preference

Tiers = Sequence[tuple[Collection[str], int]]  # clusters, and how many active backends are enough


def tiers(wish: Preference, clusters: Collection[str], own: str) -> Tiers:
    remotes = {name for name in clusters if name != OURS}
    enough = max(1, wish.minimum)
    if wish.order is not None:
        return _ordered(wish.order, remotes, own, enough)
    match wish.affinity:
        case Affinity.LOCAL:
            return [({OURS}, enough), (remotes, 1)]
        case Affinity.REMOTE:
            return [(remotes, 1), ({OURS}, 1)]
        case Affinity.NONE:
            return [({OURS, *remotes}, 1)]


def _ordered(order: Sequence[str], remotes: set[str], own: str, enough: int) -> Tiers:
    """Those that are not named come where `*` stands, or last.

    A cluster of unknown name stands with the first: it was in use before the restart, so it was preferred.
    """
    names = [OURS if name in (own, OWN) else name for name in order]
    rest = {OURS, *remotes} - {*names, UNNAMED}
    found: list[tuple[set[str], int]] = []
    for name in names if OTHERS in names else [*names, OTHERS]:
        members = set(rest) if name == OTHERS else {name}
        found.append((members, enough if name == OURS else 1))
    found[0][0].add(UNNAMED)
    return found


def take(tiers: Tiers, members: Mapping[str, Sequence[Backend]]) -> list[str]:
    """The clusters that serve: tier after tier until one has enough."""
    taken: list[str] = []
    for clusters, enough in tiers:
        present = [name for name in members if name in clusters]
        taken += present
        if present and sum(len(members[name]) for name in present) >= enough:
            break
    return taken
