"""One watch at etcd and all who follow it: a thread reads it, the event loop hands it out.

Promises: nothing of the stream is lost or reordered on its way into the ring. etcd is read as fast as the
fastest watcher takes what comes: whoever is slower than that may lapse, and holds nobody up. Only the
reading thread's inbox is shared between threads, under a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from clustermesh_apiserver.proxy import reply
from clustermesh_apiserver.proxy.reply import Cancelled, Chunk, Created, Progress
from clustermesh_apiserver.proxy.ring import Ring
from clustermesh_apiserver.proxy.source import Source, SourceLost, Stream
from clustermesh_apiserver.proxy.status import UPSTREAM_LOST, Status
from kvstore.messages import WatchCreateRequest, WatchProgressRequest, WatchRequest

_ASK_PROGRESS = WatchRequest(progress_request=WatchProgressRequest()).SerializeToString()


@dataclass(frozen=True, slots=True)
class Selection:
    """What is watched. Watches that are equal in this can share one at etcd."""

    key: bytes
    range_end: bytes
    prev_kv: bool = False
    filters: tuple[int, ...] = ()

    def request(self, start: int) -> bytes:
        """The watch to ask etcd for: whole answers, and word of progress when nothing happens."""
        create = WatchCreateRequest(
            key=self.key, range_end=self.range_end, start_revision=start, progress_notify=True
        )
        create.prev_kv = self.prev_kv
        create.filters.extend(self.filters)  # type: ignore[arg-type]  # numbers, as they were read
        return WatchRequest(create_request=create).SerializeToString()


@dataclass(frozen=True, slots=True)
class Lost:
    """The feed ended without an answer of etcd's."""

    status: Status


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
        notify: Callable[[], None],
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
        self._stream: Stream | None = None
        self._changed = threading.Condition()
        self._inbox: list[tuple[int, reply.Answer] | Lost] = []
        self._waiting_bytes = 0  # received, and not yet taken by the fastest watcher
        self._closed = False
        self._read_to = 0
        self._thread = threading.Thread(target=self._read, name=f"watch {selection.key!r}", daemon=True)

    def open(self, source: Source) -> None:
        self._stream = source.open(self.selection.request(self.start))
        self._thread.start()

    def close(self) -> None:
        """End the stream; the thread ends soon after."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._stream is not None:
            self._stream.close()

    def join(self, seconds: float) -> None:
        """Wait for the thread's end."""
        self._thread.join(seconds)

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def ask_progress(self) -> None:
        if self._stream is not None:
            self._stream.send(_ASK_PROGRESS)

    def taken(self, position: int) -> None:
        """A watcher has taken everything before `position`."""
        if position > self._read_to:
            self._read_to = position
            self._make_room()

    def drain(self) -> bool:
        """Move what the thread has read into the ring. Whether any of it may concern every watcher."""
        with self._changed:
            inbox, self._inbox = self._inbox, []
        concerns_all = False
        for item in inbox:
            if self.ending is None:
                concerns_all |= self._heard(item)
        return concerns_all

    def _heard(self, item: tuple[int, reply.Answer] | Lost) -> bool:
        if isinstance(item, Lost):
            self.ending = item
            return True
        cluster_id, answer = item
        self._cluster_id = self._cluster_id or cluster_id
        if cluster_id != self._cluster_id:  # another etcd behind the same address: a new world
            self.ending = Lost(UPSTREAM_LOST)
            return True
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
            self._waiting_bytes = self.ring.unread(self._read_to) + sum(_size(item) for item in self._inbox)
            self._changed.notify()

    def _read(self) -> None:
        """The thread. Everything that ends it becomes an item of the inbox."""
        assert self._stream is not None
        try:
            for raw in self._stream.answers():
                self._put(reply.read(raw))
        except SourceLost as error:
            self._put(Lost(error.status))
        except DecodeError:
            self._put(Lost(UPSTREAM_LOST))
            self._stream.close()

    def _put(self, item: tuple[int, reply.Answer] | Lost) -> None:
        with self._changed:
            self._inbox.append(item)
            self._waiting_bytes += _size(item)
        self._notify()
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting_bytes <= self.ring.bound // 2)


def _size(item: tuple[int, reply.Answer] | Lost) -> int:
    return len(item[1].raw) if isinstance(item, tuple) and isinstance(item[1], Chunk) else 0
