"""Watches at etcd, read in threads. All that the hub knows of the transport behind it.

Why threads: on the event loop the read from etcd is one task among a thousand that write to clients, so it
gets one message for each pass over them and nothing ever comes together to a batch. In its own thread it
goes on while a round of writes runs, and the next round carries everything that came meanwhile.

Live watches share one stream, told apart by their ids: a mesh of 255 clusters has some two thousand. A watch
that has history to go through has a stream alone, which may be held up while nobody takes what it says.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError

from clustermesh_apiserver.proxy import reply
from clustermesh_apiserver.proxy.method import WATCH
from clustermesh_apiserver.proxy.reply import NO_WATCH, Heard
from clustermesh_apiserver.proxy.status import UPSTREAM_LOST, Status, of_upstream
from clustermesh_apiserver.proxy.wirecall import WireChannel
from kvstore.messages import WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest

REQUIRE_LEADER = (("hasleader", "true"),)  # a member cut off from its quorum ends the stream, not stalls
CLOSE_SECONDS = 2.0  # for a stream's thread to end
_ASK_PROGRESS = WatchRequest(progress_request=WatchProgressRequest()).SerializeToString()


@dataclass(frozen=True, slots=True)
class Head:
    """Where etcd is now, and whether its answers to requests for progress never overtake events."""

    revision: int
    exact_progress: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """The watch ended without an answer of etcd's; `status` is what a client is told."""

    status: Status


Put = Callable[[Heard | Lost], None]


class Subscription(Protocol):
    """One watch at etcd. May be used from any thread."""

    def ask_progress(self) -> None: ...

    def close(self) -> None: ...


class Source(Protocol):
    def subscribe(self, create: WatchCreateRequest, put: Put, *, alone: bool) -> Subscription:
        """Watch, and give every answer to `put`, from a thread of the source's. Does not block.

        `put` may block where the watch is `alone`. `Lost` is the last that it gets.
        """


class GrpcSource:
    """Watches over one channel: gRPC's own, or `wirecall.WireChannel`."""

    def __init__(self, channel: Any) -> None:
        self._open = channel.stream_stream(WATCH.path)
        self._shared: _Stream | None = None
        self._streams: list[_Stream] = []

    def subscribe(self, create: WatchCreateRequest, put: Put, *, alone: bool) -> Subscription:
        stream = None if alone else self._shared
        watch_id = stream.add(create, put) if stream else None
        if stream is None or watch_id is None:  # there is none, or it has just ended
            stream = self._new_stream()
            watch_id = stream.add(create, put)
            assert watch_id is not None
            self._shared = self._shared if alone else stream
        return _Route(stream, watch_id)

    def close(self) -> None:
        """End all streams and wait for their threads."""
        for stream in self._streams:
            stream.close()
        for stream in self._streams:
            stream.join(CLOSE_SECONDS)

    def _new_stream(self) -> _Stream:
        stream = _Stream(self._open)
        self._streams = [one for one in self._streams if one.is_running] + [stream]
        return stream


@dataclass(frozen=True, slots=True)
class _Route:
    stream: _Stream
    watch_id: int

    def ask_progress(self) -> None:
        self.stream.ask_progress(self.watch_id)

    def close(self) -> None:
        self.stream.remove(self.watch_id)


class _Stream:
    """A stream of etcd's with one or more watches, and the thread that reads it.

    It ends with its last watch. Everything below the lock is shared with the thread.
    """

    def __init__(self, open_stream: Any) -> None:
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._puts: dict[int, Put] = {}
        self._uncreated: deque[int] = deque()  # etcd answers create requests in their order
        self._asking: set[int] = set()
        self._next_id = 1
        self._has_ended = False
        # iter() with a sentinel: the call's own thread asks for the next request and waits for it
        self._call = open_stream(iter(self._requests.get, None), metadata=REQUIRE_LEADER)
        self._thread = threading.Thread(target=self._read, name="watches at etcd", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def add(self, create: WatchCreateRequest, put: Put) -> int | None:
        """The new watch's id; None when the stream has ended."""
        with self._lock:
            if self._has_ended:
                return None
            watch_id = create.watch_id = self._next_id
            self._next_id += 1
            self._puts[watch_id] = put
            self._uncreated.append(watch_id)
            self._requests.put(WatchRequest(create_request=create).SerializeToString())
        return watch_id

    def remove(self, watch_id: int) -> None:
        with self._lock:
            self._puts.pop(watch_id, None)
            self._asking.discard(watch_id)
            is_last = not self._puts
            self._has_ended |= is_last
        if is_last:
            self.close()
        else:
            cancel = WatchRequest(cancel_request=WatchCancelRequest(watch_id=watch_id))
            self._requests.put(cancel.SerializeToString())

    def ask_progress(self, watch_id: int) -> None:
        with self._lock:
            self._asking.add(watch_id)
        self._requests.put(_ASK_PROGRESS)

    def close(self) -> None:
        self._call.cancel()
        self._requests.put(None)

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _read(self) -> None:
        """The thread. Whatever ends it, every watch is told."""
        lost = Lost(UPSTREAM_LOST)
        try:
            for raw in self._call:
                heard = reply.read(raw)
                for put in self._concerned(heard):
                    put(heard)
        except grpc.RpcError as error:
            lost = Lost(of_upstream(error))
        except DecodeError:
            self._call.cancel()
        with self._lock:
            self._has_ended = True
            puts, self._puts = list(self._puts.values()), {}
        self._requests.put(None)
        for put in puts:
            put(lost)

    def _concerned(self, heard: Heard) -> list[Put]:
        with self._lock:
            if heard.is_first and self._uncreated:
                watch_ids = [self._uncreated.popleft()]  # also where etcd refuses, and names no watch
            elif heard.watch_id == NO_WATCH:
                watch_ids = list(self._asking)
                self._asking.clear()
            else:
                watch_ids = [heard.watch_id]
            return [put for watch_id in watch_ids if (put := self._puts.get(watch_id)) is not None]


@asynccontextmanager
async def connect_source(target: str) -> AsyncGenerator[GrpcSource]:
    """A source at `target` (host:port). Does not wait for an answer."""
    source = GrpcSource(WireChannel(target))
    try:
        yield source
    finally:
        source.close()
