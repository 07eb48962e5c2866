"""The objects of one kind as the server holds them, with their recent history for watchers. No I/O.

History is a bounded ring: who asks for more of it than there is must list again, as with a real API
server. Every version of an object is encoded once, whoever reads it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

Json = dict[str, Any]

RING = 8192  # events a kind: minutes of history in a busy lab, a few MB

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of one object. `body` is shared: never change it."""

    key: bytes
    value: bytes  # as in etcd: without a resourceVersion, which only etcd can assign
    body: Json
    revision: int
    encoded: bytes

    def copy(self) -> Json:
        """A body of one's own to change."""
        body: Json = msgspec.json.decode(self.encoded)
        return body


def stored_value(body: Json) -> bytes:
    """The bytes for etcd."""
    metadata = {key: value for key, value in body["metadata"].items() if key != "resourceVersion"}
    return _encode({**body, "metadata": metadata})


def from_value(key: bytes, value: bytes, revision: int) -> Stored:
    """What etcd holds, at its revision. Raises msgspec.DecodeError."""
    body: Json = msgspec.json.decode(value)
    body["metadata"]["resourceVersion"] = str(revision)
    return Stored(key, value, body, revision, _encode(body))


@dataclass(frozen=True, slots=True)
class Change:
    """From one version of an object to the next; `new` is None for a delete."""

    revision: int
    old: Stored | None
    new: Stored | None


class HistoryGoneError(Exception):
    """The events asked for are not held any more (or not yet known): list again."""


class Collection:
    """`objects` by key. Changes are numbered; a watcher remembers the number of the next one it wants."""

    def __init__(self, floor: int = 0, ring: int = RING) -> None:
        self.objects: dict[bytes, Stored] = {}
        self._floor = floor  # history up to and including this revision is unknown
        self._ring: deque[Change] = deque()
        self._ring_limit = ring
        self._first = 0  # number of the ring's first change
        self._news = asyncio.Event()

    @property
    def next_number(self) -> int:
        return self._first + len(self._ring)

    def apply(self, change: Change) -> None:
        if change.new is not None:
            self.objects[change.new.key] = change.new
        elif change.old is not None:
            del self.objects[change.old.key]
        self._ring.append(change)
        if len(self._ring) > self._ring_limit:
            self._floor = max(self._floor, self._ring.popleft().revision)
            self._first += 1
        self.wake()

    def forget_history(self, revision: int) -> None:
        """Compaction: nobody can resume from before `revision`, and nobody behind can go on."""
        self._floor = revision
        self._first = self.next_number
        self._ring.clear()
        self.wake()

    def number_after(self, revision: int) -> int:
        """Where a watch from `revision` begins. Raises HistoryGoneError."""
        if revision < self._floor:
            raise HistoryGoneError(f"too old resource version: {revision} ({self._floor})")
        behind = (index for index, change in enumerate(self._ring) if change.revision > revision)
        return self._first + next(behind, len(self._ring))

    def changes_from(self, number: int) -> list[Change]:
        """Everything from `number` on. Raises HistoryGoneError for a watcher that was too slow."""
        if number < self._first:
            raise HistoryGoneError("the watch is too far behind")
        return [self._ring[index] for index in range(number - self._first, len(self._ring))]

    def at(self, revision: int) -> dict[bytes, Stored]:
        """The objects as they were at `revision`. Raises HistoryGoneError."""
        start = self.number_after(revision) - self._first
        objects = dict(self.objects)
        for change in list(self._ring)[start:][::-1]:
            if change.old is not None:
                objects[change.old.key] = change.old
            elif change.new is not None:
                objects.pop(change.new.key, None)
        return objects

    def wake(self) -> None:
        """Let waiting watchers look again."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def wait_news(self, seconds: float) -> bool:
        """Whether something was applied within `seconds`. Check for changes before calling."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True


def within(
    prefix: bytes, objects: dict[bytes, Stored], wanted: Callable[[Json], bool] | None
) -> Iterator[Stored]:
    """The objects below a key prefix that pass the test, by key."""
    for key in sorted(objects):
        if key.startswith(prefix) and (wanted is None or wanted(objects[key].body)):
            yield objects[key]
