"""What each source has for one frontend, and which of it counts. Pure.

Of one address told twice the better word counts: our own, then that of the lowest cluster id.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from mesh.matching import Backend, Found
from mesh.service import Zone

OURS = "@"  # stands for our cluster among names: no cluster can be called so
UNNAMED = ""  # a cluster whose name we do not know yet: what a restart found in the kernel


class Offer(NamedTuple):
    """Matching backends of one source; of one address told twice the earlier offer counts."""

    cluster: str
    found: Found
    is_active: bool = True
    zones: Mapping[str, Zone] = {}


def without_doubles(offers: Sequence[Offer]) -> list[Offer]:
    """One backend an address: our own word on it counts first, then that of the lowest cluster id."""
    first: dict[str, Backend] = {}
    for offer in reversed(offers):
        first.update(offer.found)
    if len(first) == sum(len(offer.found) for offer in offers):
        return [offer for offer in offers if offer.found]
    taken: set[str] = set()
    kept = []
    for offer in offers:
        found = {ip: backend for ip, backend in offer.found.items() if ip not in taken}
        taken.update(found)
        if found:
            kept.append(offer._replace(found=found))
    return kept


Candidates = Callable[[Offer], Iterable[Backend]]


def doubts(withdrawn: Collection[str]) -> list[Candidates]:
    """Whom to ask, from the best to the last resort."""

    def answering(offer: Offer) -> Iterable[Backend]:
        if not withdrawn or offer.cluster == OURS:
            return offer.found.values()
        return [backend for ip, backend in offer.found.items() if ip not in withdrawn]

    return [
        lambda offer: answering(offer) if offer.is_active else (),
        answering,
        lambda offer: offer.found.values(),
    ]


def zones(offers: Sequence[Offer]) -> dict[str, dict[str, Zone]]:
    """Of each cluster by address; of one address told twice the earlier offer counts."""
    found: dict[str, dict[str, Zone]] = {}
    for offer in reversed(offers):
        found.setdefault(offer.cluster, {}).update(offer.zones)
    return found


def members(offers: Iterable[Offer], candidates: Candidates) -> dict[str, list[Backend]]:
    """By cluster, those that are candidates; only clusters that have some."""
    members: dict[str, list[Backend]] = {}
    for offer in offers:
        found = candidates(offer)
        if found:
            members.setdefault(offer.cluster, []).extend(found)
    return members
