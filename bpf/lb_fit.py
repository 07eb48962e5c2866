"""Which services fit into the service maps when not all do. Pure.

Small services first: one that has grown beyond all measure takes nothing from the others. One that does not
fit whole gets as many of its backends as there is room for. The same services give the same choice every
time, so that a full map does not change from try to try.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bpf.lb_lists import MAX_BACKENDS_OF_SERVICE
from bpf.lb_rev_nat import MAX_REV_NAT
from bpf.lb_wanted import MAX_SHARE, BackendLike, FrontendLike, copies

F = TypeVar("F", bound=FrontendLike)
B = TypeVar("B", bound=BackendLike)


@dataclass(frozen=True, slots=True)
class Room:
    """How many entries each map can have."""

    services: int
    backends: int
    reverse_nat: int


def fit(services: Mapping[F, Sequence[B]], room: Room) -> dict[F, Sequence[B]]:
    """What to write. A service that is not in the result has no room at all."""
    free = _Free(room)
    chosen: dict[F, Sequence[B]] = {}
    order = sorted(services, key=lambda f: (len(services[f]), f.ip, f.port, f.protocol, f.outside))
    for frontend in order:
        if not free.services or not free.reverse_nat:
            break
        free.services -= 1  # its master entry
        free.reverse_nat -= 1
        chosen[frontend] = free.take(services[frontend], grouped=not frontend.outside)
    return chosen


class _Free:
    def __init__(self, room: Room) -> None:
        self.services = room.services
        self.backends = room.backends
        self.reverse_nat = min(room.reverse_nat, MAX_REV_NAT)
        self._known: set[BackendLike] = set()

    def take(self, backends: Sequence[B], *, grouped: bool) -> Sequence[B]:
        """Those of one service that fit: a slot each, or as many as they weigh in a list that is not
        `grouped`, and an entry for who is in no other service."""
        clusters: set[int] = set()
        taken: list[B] = []
        for backend in backends[:MAX_BACKENDS_OF_SERVICE]:
            is_new = backend not in self._known
            slots = 1 if grouped else copies(backend)
            if grouped and backend.weight and backend.cluster_id not in clusters:  # a group, and its share
                slots += 1 + min(backend.weight, MAX_SHARE)
            if self.services < slots or (is_new and not self.backends):
                continue
            self.services -= slots
            self.backends -= is_new
            self._known.add(backend)
            clusters.add(backend.cluster_id)
            taken.append(backend)
        return taken
