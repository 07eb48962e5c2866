"""The recent events of one watched range, shared by all of its watchers; bounded by bytes. Pure.

A `Ring` holds chunks under positions that only grow. A `Cursor` is one watcher's place in it: whenever the
watcher can take something it gets all that has come since, joined to one batch. Load makes batches larger,
not queues longer. What a cursor gets is exactly the events from its start revision on, each once, in order;
when that is no longer possible (it fell behind what the ring keeps) `take` raises Lapsed.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from clustermesh_apiserver.proxy.reply import Chunk, since

BATCH_BYTES = 1 << 20  # well below the 2 MiB over which etcd itself cuts answers, and gRPC's 4 MiB


class Lapsed(Exception):
    """Events that this watcher has not seen are no longer kept."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Joined answers, and what they hold."""

    raw: bytes
    end: int  # the position after it
    last: int  # the revision up to which it goes
    events: int


@dataclass(slots=True)
class _Kept:
    chunk: Chunk
    offset: int  # of its end, in bytes since the ring began


class Ring:
    """All events with a revision above `floor`, as far as they have come.

    `covered`: every event up to that revision has come. `begin` and `end` are positions.
    """

    def __init__(self, floor: int, bound: int, batch_bytes: int = BATCH_BYTES) -> None:
        self.floor = floor
        self.covered = floor
        self.begin = 0
        self.end = 0
        self.bound = bound
        self._batch_bytes = batch_bytes
        self._kept: dict[int, _Kept] = {}
        self._batches: dict[int, Batch] = {}  # those of watchers that stand at the same position
        self._received = 0
        self._dropped = 0

    @property
    def bytes(self) -> int:
        return self._received - self._dropped

    def append(self, chunk: Chunk) -> None:
        """Keep a chunk; the oldest ones go when there is too much. The newest stays, however large."""
        self._received += len(chunk.raw)
        self._kept[self.end] = _Kept(chunk, self._received)
        self.end += 1
        self._batches.clear()
        self.reach(chunk.last)
        self.shrink(self.bound)

    def reach(self, revision: int) -> None:
        """etcd says that there are no events up to `revision` but those that have come."""
        self.covered = max(self.covered, revision)

    def unread(self, position: int) -> int:
        """The bytes from `position` on."""
        before = self._kept.get(position - 1)
        return self._received - (before.offset if before else self._dropped)

    def position_after(self, revision: int) -> int:
        """Where the first chunk with events above `revision` is, or will be. `revision` >= floor."""
        return bisect_right(
            range(self.end), revision, lo=self.begin, key=lambda position: self._kept[position].chunk.last
        )

    def chunk(self, position: int) -> Chunk:
        """Raises Lapsed. `position` < end."""
        if position < self.begin:
            raise Lapsed
        return self._kept[position].chunk

    def batch(self, position: int) -> Batch:
        """As much from `position` (< end) on as fits into one answer. Made once for all who stand there."""
        batch = self._batches.get(position)
        if batch is None:
            batch = self._batches[position] = self._joined(position)
        return batch

    def _joined(self, position: int) -> Batch:
        first = self.chunk(position)
        parts, size, events, last = [first.raw], len(first.raw), first.events, first.last
        for end in range(position + 1, self.end):
            chunk = self._kept[end].chunk
            size += len(chunk.raw)
            if size > self._batch_bytes:
                break
            parts.append(chunk.raw)
            events += chunk.events
            last = chunk.last
        return Batch(b"".join(parts) if len(parts) > 1 else first.raw, position + len(parts), last, events)

    def shrink(self, bound: int) -> None:
        """Drop the oldest chunks until the ring has no more than `bound` bytes."""
        while self.bytes > bound and self.begin < self.end - 1:
            oldest = self._kept.pop(self.begin)
            self.begin += 1
            self._dropped = oldest.offset
            self.floor = oldest.chunk.last


class Cursor:
    """One watcher's place: it has had every event below revision `next`."""

    __slots__ = ("next", "position", "ring")

    def __init__(self, ring: Ring, start: int) -> None:
        """All events from revision `start` on; `start` > ring.floor."""
        self.ring = ring
        self.next = start
        self.position = ring.position_after(start - 1)

    @property
    def has_lapsed(self) -> bool:
        return self.position < self.ring.begin

    @property
    def is_at_end(self) -> bool:
        return self.position >= self.ring.end

    def take(self) -> Batch | None:
        """What has come since the last time, or a part of it that fits one answer. Raises Lapsed."""
        ring = self.ring
        while self.position < ring.end:
            chunk = ring.chunk(self.position)
            if chunk.first >= self.next:
                batch = ring.batch(self.position)
                self.position, self.next = batch.end, batch.last + 1
                return batch
            self.position += 1
            if chunk.last >= self.next:
                part = since(chunk, self.next)
                self.next = chunk.last + 1
                return Batch(part.raw, self.position, part.last, part.events)
        self.next = max(self.next, ring.covered + 1)
        return None

    def move(self, ring: Ring) -> bool:
        """Go on in another ring of the same range, if that one has all that is still to come."""
        if ring.floor >= self.next:
            return False
        self.ring = ring
        self.position = ring.position_after(self.next - 1)
        return True
