"""Remote backends that somebody doubts, and who: one service's loss of them is the sum. Pure."""

from __future__ import annotations

NODES = "nodes"  # the backend's node is silent
BACKENDS = "backends"  # the backend itself is


class Withdrawals:
    def __init__(self) -> None:
        self.all: frozenset[str] = frozenset()
        self._by: dict[str, frozenset[str]] = {}

    def doubt(self, addresses: frozenset[str], by: str) -> frozenset[str]:
        """All that one source doubts now; which addresses changed their state by that."""
        self._by[by] = addresses
        before, self.all = self.all, frozenset().union(*self._by.values())
        return before ^ self.all

    def reason(self, ip: str) -> str:
        return "its node does not answer" if ip in self._by.get(NODES, ()) else "it does not answer itself"
