"""The listening socket, all connections, and the tasks that handle their calls."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiokit.wait import eventually
from clustermesh_apiserver.proxy.call import Call
from clustermesh_apiserver.proxy.caller import Caller, Peer
from clustermesh_apiserver.proxy.http2.connection import Connection
from clustermesh_apiserver.proxy.http2.keepalive import BEGIN_SECONDS
from clustermesh_apiserver.proxy.http2.stream import Stream
from clustermesh_apiserver.proxy.http2.wire import PlainWire, TlsWire
from clustermesh_apiserver.proxy.quota import Bucket
from clustermesh_apiserver.proxy.status import BUG, OUT_OF_TIME, Ended, Status

BACKLOG = 1024
MAX_CONNECTIONS = 8192
MAX_UNKNOWN = 1024  # of them whose handshake is not done: anybody can begin one
CHECK_SECONDS = 1.0
_WILDCARDS = ("", "0.0.0.0", "::")

log = logging.getLogger(__name__)

Answer = Callable[[Call], Awaitable[Status]]


class Server:
    """`answer` handles a call and says how it ends; `identify` tells who a connection's client is."""

    def __init__(self, answer: Answer, identify: Callable[[Peer], Caller], group: asyncio.TaskGroup) -> None:
        self._answer = answer
        self._identify = identify
        self._group = group
        self._wires: set[PlainWire] = set()
        self._unknown: set[PlainWire] = set()
        self._is_draining = False
        self._log_budget = Bucket(1.0, 20.0)  # anybody can fail in any number

    def __len__(self) -> int:
        return len(self._wires)

    def accept(self, wire: PlainWire) -> bool:
        if self._is_draining or len(self._wires) >= MAX_CONNECTIONS or len(self._unknown) >= MAX_UNKNOWN:
            return False
        self._wires.add(wire)
        self._unknown.add(wire)
        return True

    def begin(self, wire: PlainWire, peer: Peer) -> Connection | None:
        self._unknown.discard(wire)
        try:
            caller = self._identify(peer)
        except ValueError as error:  # a certificate that OpenSSL reads and we do not
            log.warning("client not identified peer=%s error=%s", peer.address, error)
            return None
        return Connection(wire, caller, self._start)

    def failed(self, wire: PlainWire, error: ssl.SSLError) -> None:
        if self._log_budget.take(asyncio.get_running_loop().time()):
            log.warning("handshake failed peer=%s reason=%s", wire.address, error.reason)

    def gone(self, wire: PlainWire) -> None:
        self._wires.discard(wire)
        self._unknown.discard(wire)

    def drain(self) -> None:
        """No new connections and calls; connections end with their last call."""
        self._is_draining = True
        for wire in list(self._wires):
            if wire.connection is not None:
                wire.connection.drain()
            else:
                wire.abort()

    def end(self) -> None:
        """All connections, whatever they do."""
        for wire in list(self._wires):
            if wire.connection is not None:
                wire.connection.end()
            else:
                wire.abort()

    def abort(self) -> None:
        for wire in list(self._wires):
            wire.abort()

    async def look_after(self) -> None:
        """Cut off who says nothing, until cancelled."""
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.check(now())

    def check(self, now: float) -> None:
        """One look at all connections. `now`: the loop's time."""
        for wire in [one for one in self._unknown if now - one.opened_at > BEGIN_SECONDS]:
            wire.abort()
        for wire in list(self._wires):
            if wire.connection is not None:
                wire.connection.check(now)

    def _start(self, connection: Connection, stream: Stream) -> None:
        stream.task = self._group.create_task(self._run(connection, stream), name=stream.path)
        stream.task.add_done_callback(lambda _: connection.ran())

    async def _run(self, connection: Connection, stream: Stream) -> None:
        connection.finish(stream, await self._status(stream))

    async def _status(self, stream: Stream) -> Status:
        try:
            async with asyncio.timeout_at(stream.deadline):
                return await self._answer(stream)
        except TimeoutError:
            return OUT_OF_TIME
        except Ended as ended:
            return ended.status
        except Exception:
            log.exception("call failed path=%s", stream.path[:128])
            return BUG


@asynccontextmanager
async def serving(
    bound: socket.socket,
    answer: Answer,
    identify: Callable[[Peer], Caller],
    context: Callable[[], ssl.SSLContext] | None,
    *,
    grace: float,
) -> AsyncGenerator[int]:
    """Serve on a socket of `bind` while the block runs; gives the port.

    `context`: for each handshake the one to use; None: plain text. In the end calls have `grace` seconds.
    """
    async with asyncio.TaskGroup() as group:
        server = Server(answer, identify, group)
        listener = await asyncio.get_running_loop().create_server(
            lambda: PlainWire(server) if context is None else TlsWire(server, context),
            sock=bound,
            backlog=BACKLOG,
        )
        watch = group.create_task(server.look_after(), name="proxy connections")
        try:
            yield bound.getsockname()[1]
        finally:
            listener.close()
            server.drain()
            try:
                await eventually(lambda: not len(server), grace)
            except TimeoutError:
                server.end()
            watch.cancel()
            server.abort()


def bind(address: str) -> socket.socket:
    """A socket for `host:port`; without a host for everybody, in both families. Raises OSError."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if host in _WILDCARDS and socket.has_dualstack_ipv6():
        return socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, int(port)), family=family)
