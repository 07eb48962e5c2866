"""Watch streams that say what a test tells them to, when it tells them to; and can be lost."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import grpc

from clustermesh_apiserver.proxy.source import SourceLost
from clustermesh_apiserver.proxy.status import Status
from kvstore import messages as m

LOST = Status(grpc.StatusCode.UNAVAILABLE, "etcdserver: not connected")


class ScriptedStream:
    """As etcd's stream: `said` blocks until there is something, or the stream is closed."""

    def __init__(self, request: bytes) -> None:
        self.create = m.WatchRequest.FromString(request).create_request
        self.requests: list[m.WatchRequest] = []
        self.closed = threading.Event()
        self.read = 0
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def say(self, *raws: bytes) -> None:
        for raw in raws:
            self._answers.put(raw)

    def lose(self) -> None:
        self._answers.put(None)

    def answers(self) -> Iterator[bytes]:
        while (raw := self._answers.get()) is not None:
            self.read += 1
            yield raw
        raise SourceLost(LOST)

    def send(self, request: bytes) -> None:
        self.requests.append(m.WatchRequest.FromString(request))

    def close(self) -> None:
        self.closed.set()
        self._answers.put(None)


class ScriptedSource:
    def __init__(self) -> None:
        self.streams: list[ScriptedStream] = []

    def open(self, request: bytes) -> ScriptedStream:
        self.streams.append(ScriptedStream(request))
        return self.streams[-1]

    @property
    def open_streams(self) -> list[ScriptedStream]:
        return [stream for stream in self.streams if not stream.closed.is_set()]
