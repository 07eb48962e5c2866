"""Which peer holds which cluster id. Pure: the clock is passed in.

Two peers with one id would make their identities indistinguishable, so the second is refused. An id stays
with its last holder for a while after release (rule 7): packets and entries of the old owner may still be
under way when a new cluster would take the number over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

HOLD_DOWN_SECONDS = 10.0


@dataclass(slots=True)
class _Holder:
    name: str
    until: float | None  # None: in use


class ClusterIDs:
    def __init__(
        self, *, now: Callable[[], float] = time.monotonic, hold_down: float = HOLD_DOWN_SECONDS
    ) -> None:
        self._now = now
        self._hold_down = hold_down
        self._holders: dict[int, _Holder] = {}

    def taken(self, peer: str) -> Mapping[int, str]:
        """Ids that `peer` may not have, and who has them."""
        now = self._now()
        return {
            number: holder.name
            for number, holder in self._holders.items()
            if holder.name != peer and (holder.until is None or holder.until > now)
        }

    def reserve(self, number: int, peer: str) -> None:
        """Give `peer` the id; the caller has looked at `taken`. Gives up the one it had."""
        if self.held_by(peer) != number:
            self.release(peer)
        self._holders[number] = _Holder(peer, None)

    def release(self, peer: str) -> None:
        for holder in self._holders.values():
            if holder.name == peer and holder.until is None:
                holder.until = self._now() + self._hold_down

    def held_by(self, peer: str) -> int | None:
        for number, holder in self._holders.items():
            if holder.name == peer and holder.until is None:
                return number
        return None
