"""Watch streams at etcd, read in threads of their own. All that the hub knows of the transport behind it.

Why threads: on the event loop the read from etcd is one task among a thousand that write to clients, so it
gets one message for each pass over them and nothing ever comes together to a batch. In its own thread it
goes on while a round of writes runs, and the next round carries everything that came meanwhile.
"""

from __future__ import annotations

import queue
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import grpc

from clustermesh_apiserver.proxy.method import WATCH
from clustermesh_apiserver.proxy.status import Status, of_upstream

REQUIRE_LEADER = (("hasleader", "true"),)  # a member cut off from its quorum ends the stream, not stalls


class SourceLost(Exception):
    """etcd ended the stream, or was lost; `status` is what a client is told."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.details)
        self.status = status


class Stream(Protocol):
    """One stream of answers from etcd. `send` and `close` may be called from any thread."""

    def answers(self) -> Iterator[bytes]:
        """Blocks for each; never ends but by SourceLost."""

    def send(self, request: bytes) -> None: ...

    def close(self) -> None: ...


class Source(Protocol):
    def open(self, request: bytes) -> Stream:
        """A new stream whose first request (a WatchRequest) this is. Does not block."""


class GrpcSource:
    """Watch streams over one channel."""

    def __init__(self, channel: Any) -> None:
        self._open = channel.stream_stream(WATCH.path)

    def open(self, request: bytes) -> Stream:
        return _GrpcStream(self._open, request)


class _GrpcStream:
    def __init__(self, open_stream: Any, request: bytes) -> None:
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._requests.put(request)
        # iter() with a sentinel: gRPC's own thread asks for the next request and blocks until there is one
        self._call = open_stream(iter(self._requests.get, None), metadata=REQUIRE_LEADER)

    def answers(self) -> Iterator[bytes]:
        try:
            yield from self._call
        except grpc.RpcError as error:
            raise SourceLost(of_upstream(error)) from error
        finally:
            self._requests.put(None)
        raise SourceLost(Status(grpc.StatusCode.UNAVAILABLE, "etcdserver: server stopped"))

    def send(self, request: bytes) -> None:
        self._requests.put(request)

    def close(self) -> None:
        self._call.cancel()
        self._requests.put(None)


@asynccontextmanager
async def connect_source(target: str, options: Any) -> AsyncGenerator[GrpcSource]:
    """A source at `target` (host:port). Does not wait for an answer."""
    with grpc.insecure_channel(target, options=options) as channel:
        yield GrpcSource(channel)
