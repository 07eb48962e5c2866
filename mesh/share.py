"""How much of a frontend's list each cluster gets. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from math import gcd, lcm
from operator import itemgetter

from mesh.matching import Backend
from mesh.offer import OURS, UNNAMED
from mesh.preference import OTHERS, OWN, Preference

MAX_SHARES = 128  # slots that a weighted frontend's list may take; shares are rounded to fit
MAX_SPREAD = 1024  # slots of a weighted list without groups, or twice as many as it has backends
REMEMBERED = 65_536  # backends of one weight, as many as the map has; ten thousand are not made anew for one
WEIGHTS = 8  # in use at once, more or less: two clusters' shares of a few services

_by_place = itemgetter(3, 0, 1)  # cluster id, address, port


def weighted(wish: Preference, members: Mapping[str, Sequence[Backend]], own: str) -> tuple[Backend, ...]:
    """All backends of the clusters that serve, each with its cluster's share, in one order for all."""
    shares = _shares(wish.weights, members, own) if wish.weights and len(members) > 1 else {}
    chosen: list[Backend] = []
    for name, backends in members.items():
        if len(shares) > 1 and name in shares:
            chosen += map(_of_weight(shares[name]).__getitem__, backends)
        elif not shares or name in shares:
            chosen += backends
    return tuple(sorted(chosen, key=_by_place))


def spread(backends: Sequence[Backend]) -> tuple[Backend, ...]:
    """The same with each backend's own weight instead of its cluster's share: slots of a list without groups.

    Exact while the list is short enough; then rounded, and no backend goes without.
    """
    if not backends or not backends[0].weight:
        return tuple(backends)
    counts = Counter(backend.cluster_id for backend in backends)
    shares = {backend.cluster_id: backend.weight for backend in backends}
    parts = {cluster: Fraction(share, counts[cluster]) for cluster, share in shares.items()}
    tops, bottoms = [p.numerator for p in parts.values()], [p.denominator for p in parts.values()]
    unit = Fraction(gcd(*tops), lcm(*bottoms))  # of which each part is a whole number
    slots = sum(parts[cluster] * count for cluster, count in counts.items()) / unit
    room = max(MAX_SPREAD, 2 * len(backends))
    if slots > room:
        unit *= slots / room
    weights = {cluster: max(1, round(part / unit)) for cluster, part in parts.items()}
    return tuple(backend._replace(weight=weights[backend.cluster_id]) for backend in backends)


class _OfWeight(dict[Backend, Backend]):
    """Backends with one weight, by what they are without. `lru_cache` takes 1.8 times as long."""

    def __init__(self, weight: int) -> None:
        super().__init__()
        self._weight = weight

    def __missing__(self, backend: Backend) -> Backend:
        if len(self) >= REMEMBERED:
            self.clear()
        weighted = self[backend] = backend._replace(weight=self._weight)
        return weighted


_of_weight = lru_cache(maxsize=WEIGHTS)(_OfWeight)


def _shares(weights: Mapping[str, int], clusters: Iterable[str], own: str) -> dict[str, int]:
    """Shares that have at most MAX_SHARES together, at least 1 each; nothing when nobody has a weight.

    A cluster of weight 0 only serves when no other does.
    """
    given = {OURS if name in (own, OWN) else name: weight for name, weight in weights.items()}
    others = given.get(OTHERS, 0)
    unnamed = max(given.values())  # in use before a restart, until we know whose it is
    wanted = {name: unnamed if name == UNNAMED else given.get(name, others) for name in clusters}
    wanted = {name: weight for name, weight in wanted.items() if weight}
    if not wanted:
        return {}
    divisor = gcd(*wanted.values())
    wanted = {name: weight // divisor for name, weight in wanted.items()}
    total = sum(wanted.values())
    if total <= MAX_SHARES:
        return wanted
    return {name: max(1, round(weight * MAX_SHARES / total)) for name, weight in wanted.items()}
