"""A client that writes frames by hand, right or wrong, to the real server without a socket in between.

What the server says is read with another implementation of HTTP/2's framing (`bench.http2`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import hpack

from aiokit.wait import eventually
from bench import http2
from bench.http2 import DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, frame
from clustermesh_apiserver.proxy.authz import role_of
from clustermesh_apiserver.proxy.call import Call
from clustermesh_apiserver.proxy.caller import Caller, Certificate, Peer
from clustermesh_apiserver.proxy.http2.connection import Connection
from clustermesh_apiserver.proxy.http2.frame import Code
from clustermesh_apiserver.proxy.http2.server import Answer, Server
from clustermesh_apiserver.proxy.http2.wire import PlainWire
from clustermesh_apiserver.proxy.status import OK, Status

CERTIFICATE = Certificate(1, datetime.now(UTC), datetime.now(UTC), b"")
PATH = "/etcdserverpb.Watch/Watch"
ASK = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", PATH),
    (":authority", "east"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]


def identify(peer: Peer) -> Caller:
    return Caller(role_of(["remote"], "east"), peer.address, peer.address, CERTIFICATE)


async def echo(call: Call) -> Status:
    while (message := await call.read()) is not None:
        await call.write(message)
    return OK


def message(content: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(content).to_bytes(4, "big") + content


class Memory(asyncio.Transport):
    """A socket that takes everything at once; one that `lingers` ends only when it is cut."""

    def __init__(self) -> None:
        self.lingers = False
        super().__init__({"peername": ("10.0.0.1", 4711)})
        self.written = bytearray()
        self.protocol: PlainWire | None = None

    def write(self, data: Any) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def close(self) -> None:
        if not self.lingers:
            self.abort()

    def abort(self) -> None:
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            asyncio.get_running_loop().call_soon(protocol.connection_lost, None)


class Far:
    """One connection, seen from its client."""

    def __init__(self, server: Server) -> None:
        self.socket = Memory()
        self.wire = self.socket.protocol = PlainWire(server)
        self.frames: list[http2.Frame] = []
        self._decoder = hpack.Decoder()
        self.wire.connection_made(self.socket)

    @property
    def connection(self) -> Connection:
        assert self.wire.connection is not None
        return self.wire.connection

    @property
    def is_open(self) -> bool:
        return self.socket.protocol is not None

    def send(self, *raw: bytes) -> None:
        """One after the other, as if each came in a packet of its own."""
        for one in raw:
            if self.is_open:
                self.wire.data_received(one)

    def begin(self, settings: bytes = b"") -> None:
        self.send(http2.PREFACE + frame(http2.SETTINGS, 0, 0, settings))

    def ask(self, stream: int = 1, *more: tuple[str, str], path: str = PATH, ends: bool = False) -> None:
        headers = [(name, path if name == ":path" else value) for name, value in ASK]
        self.headers(stream, [*headers, *more], ends=ends)

    def headers(self, stream: int, headers: list[tuple[str, str]], *, ends: bool = False) -> None:
        block = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*one) for one in headers])
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if ends else 0), stream, block))

    def tell(self, stream: int, content: bytes, *, ends: bool = False) -> None:
        self.send(frame(DATA, END_STREAM if ends else 0, stream, message(content)))

    def heard(self) -> list[http2.Frame]:
        """All frames so far."""
        self.frames += http2.frames(self.socket.written)
        return self.frames

    def of(self, kind: int, stream: int) -> list[http2.Frame]:
        return [one for one in self.heard() if one[0] == kind and one[2] == stream]

    def messages(self, stream: int = 1) -> list[bytes]:
        return list(http2.Messages().feed(b"".join(one[3] for one in self.of(DATA, stream))))

    def trailers(self, stream: int = 1) -> dict[str, str]:
        """Of a stream that has ended; empty of one that has not."""
        for _, flags, _, block in self.of(HEADERS, stream):
            found = dict(hpack.Decoder().decode(block))
            if flags & END_STREAM:
                return found
        return {}

    def reset(self, stream: int = 1) -> Code | None:
        return next((Code(int.from_bytes(one[3], "big")) for one in self.of(RST_STREAM, stream)), None)

    def goodbye(self) -> tuple[Code, str] | None:
        said = self.of(GOAWAY, 0)
        return (Code(int.from_bytes(said[-1][3][4:8], "big")), said[-1][3][8:].decode()) if said else None

    async def ended(self, code: Code, *words: str) -> None:
        """The server hangs up, and says why."""
        await eventually(lambda: not self.is_open and self.wire.connection is None)
        said = self.goodbye()
        assert said is not None
        assert said[0] is code
        assert all(word in said[1] for word in words), said


Connect = Callable[[], Far]


@asynccontextmanager
async def far(answer: Answer = echo) -> AsyncGenerator[Connect]:
    """Gives connections to a server whose calls are answered by `answer`. In the end no call is left."""
    async with asyncio.TaskGroup() as group:
        server = Server(answer, identify, group)
        made: list[Far] = []

        def connect() -> Far:
            made.append(Far(server))
            return made[-1]

        yield connect
        server.abort()
        await settled(lambda: not len(server))


async def settled(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    await eventually(condition, 5.0, 0.001)
