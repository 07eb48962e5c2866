"""One watch at etcd and all who follow it: a thread of the source's brings it, the event loop hands it out.

Promises: nothing of the watch is lost or reordered on its way into the ring. History is read as fast as the
fastest watcher takes what comes, live events as fast as they come: whoever is slower than the ring is long
may lapse, and holds nobody up. Only the inbox is shared between threads, under a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from clustermesh_apiserver.proxy.reply import Cancelled, Chunk, Created, Heard, Progress
from clustermesh_apiserver.proxy.ring import Ring
from clustermesh_apiserver.proxy.source import Lost, Source, Subscription
from clustermesh_apiserver.proxy.status import UPSTREAM_LOST
from kvstore.messages import WatchCreateRequest

ALONE_LAG = 1000  # revisions of history; a watch with more has a stream alone at etcd


@dataclass(frozen=True, slots=True)
class Selection:
    """What is watched. Watches that are equal in this can share one at etcd."""

    key: bytes
    range_end: bytes
    prev_kv: bool = False
    filters: tuple[int, ...] = ()

    def request(self, start: int) -> WatchCreateRequest:
        """The watch to ask etcd for: whole answers, and word of progress when nothing happens."""
        create = WatchCreateRequest(
            key=self.key, range_end=self.range_end, start_revision=start, progress_notify=True
        )
        create.prev_kv = self.prev_kv
        create.filters.extend(self.filters)  # type: ignore[arg-type]  # numbers, as they were read
        return create


class Feed:
    """A watch of `selection` from revision `start` on. `head`: etcd's revision when it was opened."""

    def __init__(
        self,
        selection: Selection,
        start: int,
        head: int,
        *,
        bound: int,
        exact_progress: bool,
        notify: Callable[[Feed], None],
    ) -> None:
        self.selection = selection
        self.start = start
        self.ring = Ring(start - 1, bound)
        self.ending: Cancelled | Lost | None = None
        self.lag = max(0, head - start + 1)  # revisions of history that it may still have to go through
        self.progress: tuple[int, bytes] | None = None  # a position, and the word of progress said there
        self.confirmed: tuple[int, int] | None = None  # a position, and the revision that it stands for
        self._cluster_id = 0
        self._exact_progress = exact_progress  # answers to requests for progress do not overtake events
        self._notify = notify
        self._is_alone = self.lag > ALONE_LAG
        self._subscription: Subscription | None = None
        self._changed = threading.Condition()
        self._inbox: list[Heard | Lost] = []
        self._inbox_bytes = 0
        self._unread_bytes = 0  # of the ring, not yet taken by the fastest watcher
        self._closed = False
        self._read_to = 0

    def open(self, source: Source) -> None:
        request = self.selection.request(self.start)
        self._subscription = source.subscribe(request, self._put, alone=self._is_alone)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._subscription is not None:
            self._subscription.close()

    def ask_progress(self) -> None:
        if self._subscription is not None:
            self._subscription.ask_progress()

    def taken(self, position: int) -> None:
        """A watcher has taken everything before `position`."""
        if position > self._read_to:
            self._read_to = position
            self._make_room()

    def drain(self) -> bool:
        """Move what the thread has brought into the ring. Whether any of it may concern every watcher."""
        with self._changed:
            inbox, self._inbox = self._inbox, []
        concerns_all = False
        for item in inbox:
            if self.ending is None:
                concerns_all |= self._heard(item)
        with self._changed:
            self._inbox_bytes -= sum(map(_size, inbox))
            self._unread_bytes = self.ring.unread(self._read_to)
            self._changed.notify()
        return concerns_all

    def _heard(self, heard: Heard | Lost) -> bool:
        if isinstance(heard, Lost):
            self.ending = heard
            return True
        self._cluster_id = self._cluster_id or heard.cluster_id
        if heard.cluster_id != self._cluster_id:  # another etcd behind the same address: a new world
            self.ending = Lost(UPSTREAM_LOST)
            return True
        answer = heard.answer
        match answer:
            case Chunk():
                self.ring.append(answer)
                self.lag = 0 if answer.last > self.start + self.lag else self.lag
            case Created():
                return False
            case Progress(revision, _, asked=True):
                if self._exact_progress:
                    self.ring.reach(revision)
                self.confirmed = (self.ring.end, min(revision, self.ring.covered))
                return False
            case Progress(revision, raw):
                self.ring.reach(revision)
                self.progress = (self.ring.end, raw)
                self.lag = 0
            case Cancelled():
                self.ending = answer
        return True

    def _make_room(self) -> None:
        with self._changed:
            self._unread_bytes = self.ring.unread(self._read_to)
            self._changed.notify()

    def _put(self, heard: Heard | Lost) -> None:
        """From the source's thread, which waits here while there is too much."""
        with self._changed:
            self._inbox.append(heard)
            self._inbox_bytes += _size(heard)
        self._notify(self)
        with self._changed:
            self._changed.wait_for(self._has_room)

    def _has_room(self) -> bool:
        held = self._inbox_bytes + (self._unread_bytes if self._is_alone else 0)
        return self._closed or held <= self.ring.bound // 2


def _size(heard: Heard | Lost) -> int:
    return len(heard.answer.raw) if isinstance(heard, Heard) and isinstance(heard.answer, Chunk) else 0
