"""Keeping the answers to watch requests in order when some are ours and some are etcd's. Pure.

Clients match `created` answers to their create requests by order, so our refusal of the second request
must not overtake etcd's answer to the first.
"""

from __future__ import annotations

from collections import deque


class CreateOrder:
    """The create requests of one stream that have not been answered yet, oldest first."""

    def __init__(self) -> None:
        self._waiting: deque[bytes | None] = deque()  # None: sent on; bytes: our refusal, held back

    def __len__(self) -> int:
        return len(self._waiting)

    def forwarded(self) -> None:
        """A create request goes to etcd."""
        self._waiting.append(None)

    def refused(self, answer: bytes) -> list[bytes]:
        """A create request was refused; the answers that may be sent now."""
        self._waiting.append(answer)
        return self._due()

    def created(self) -> list[bytes]:
        """etcd answered its oldest create request; the answers of ours that follow it."""
        if self._waiting:
            self._waiting.popleft()
        return self._due()

    def _due(self) -> list[bytes]:
        due: list[bytes] = []
        while self._waiting and (answer := self._waiting[0]) is not None:
            due.append(answer)
            self._waiting.popleft()
        return due
