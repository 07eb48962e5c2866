"""A client's question how far its watches are: answered once, with the lowest of what they say. Pure."""

from __future__ import annotations


class Confirmation:
    """`said` and `gone` give the answer when nobody's word is missing any more, and 0 before."""

    def __init__(self) -> None:
        self._waiting: set[int] = set()  # ids of watches that have yet to say how far they are
        self._lowest = 0

    @property
    def is_open(self) -> bool:
        return bool(self._waiting)

    def ask(self, watch_id: int) -> None:
        if not self._waiting:
            self._lowest = 0
        self._waiting.add(watch_id)

    def said(self, watch_id: int, revision: int) -> int:
        self._lowest = min(self._lowest or revision, revision)
        self._waiting.discard(watch_id)
        return 0 if self._waiting else self._lowest

    def gone(self, watch_id: int) -> int:
        """The watch is over. No answer where no other has said anything."""
        if watch_id not in self._waiting:
            return 0
        self._waiting.discard(watch_id)
        return 0 if self._waiting else self._lowest
