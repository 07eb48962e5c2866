"""A stream of messages with etcd over a socket of its own, read by the thread that iterates over it.

gRPC's library takes a live watch through three threads (one polls, one completes, one reads): of 80 µs of CPU
that a live event cost the proxy, half went into changing between them. Here the thread that reads is the one
that waits for the socket. What is called has the form of the library's: `proxy.source` is the only user, and
does not know which it has.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator

import grpc

from clustermesh_apiserver.proxy.http2.exchange import Ending, Exchange
from clustermesh_apiserver.proxy.http2.frame import ConnectionFault, StreamFault
from clustermesh_apiserver.proxy.http2.headers import Header
from clustermesh_apiserver.proxy.status import Ended

CONNECT_SECONDS = 5.0
SEND_SECONDS = 15  # for etcd to take a request
UNANSWERED_SECONDS = (
    20  # of TCP's own probes: a machine that is gone must not look like one where nothing happens
)
_READ_BYTES = 1 << 18
_CODES = {code.value[0]: code for code in grpc.StatusCode}
Requests = Iterable[bytes]


class CallError(grpc.RpcError):  # type: ignore[misc]  # grpc has no types
    """How a call ended, asked as gRPC's own errors are."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.details)
        self._ending = ending

    def code(self) -> grpc.StatusCode:
        return _CODES.get(self._ending.code, grpc.StatusCode.UNKNOWN)

    def details(self) -> str:
        return self._ending.details

    def trailing_metadata(self) -> tuple[Header, ...]:
        return self._ending.trailing


class WireChannel:
    """Opens streams at `target`, HOST:PORT, in plain text, each with a connection of its own."""

    def __init__(self, target: str) -> None:
        self._target = target.rpartition("/")[2]

    def stream_stream(self, path: str) -> Callable[..., WireCall]:
        def opened(requests: Requests, metadata: Iterable[Header] = ()) -> WireCall:
            return WireCall(self._target, Exchange(path, self._target, metadata), requests)

        return opened


class WireCall:
    """Iterate once: that connects, and sends what `requests` says in a second thread. Raises CallError.

    `cancel` may be called from any thread, at any time.
    """

    def __init__(self, target: str, exchange: Exchange, requests: Requests) -> None:
        self._target = target
        self._exchange = exchange
        self._requests = requests
        self._lock = threading.Lock()  # of the exchange, and of what is written
        self._socket: socket.socket | None = None
        self._is_cancelled = False

    @property
    def is_connected(self) -> bool:
        return self._socket is not None

    def cancel(self) -> None:
        self._is_cancelled = True
        if self._socket is not None:
            _shut(self._socket)

    def __iter__(self) -> Iterator[bytes]:
        try:
            with _connected(self._target) as connection:
                self._socket = connection
                if self._is_cancelled:  # while we connected
                    return
                connection.sendall(self._exchange.take())
                writer = threading.Thread(
                    target=self._write, args=[connection], daemon=True, name="watch requests"
                )
                writer.start()
                yield from self._messages(connection)
        except (OSError, ConnectionFault, StreamFault, Ended) as error:
            raise CallError(Ending(grpc.StatusCode.UNAVAILABLE.value[0], str(error))) from error

    def _messages(self, connection: socket.socket) -> Iterator[bytes]:
        exchange = self._exchange
        while exchange.ending is None:
            data = connection.recv(_READ_BYTES)
            if not data:
                raise ConnectionResetError("the connection ended")
            with self._lock:
                messages = list(exchange.hear(data))
                if due := exchange.take():
                    connection.sendall(due)
            yield from messages
        if exchange.ending.code:
            raise CallError(exchange.ending)

    def _write(self, connection: socket.socket) -> None:
        """The second thread, until there are no more requests."""
        try:
            for request in self._requests:
                with self._lock:
                    self._exchange.ask(request)
                    connection.sendall(self._exchange.take())
        except OSError:
            _shut(connection)  # whoever reads is told by that


def _connected(target: str) -> socket.socket:
    host, _, port = target.rpartition(":")
    if not port.isdecimal():
        raise OSError(f"{target!r} is not HOST:PORT")
    connection = socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS)
    connection.settimeout(None)  # a watch may be silent for as long as nothing happens
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_SECONDS * 1000)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_SECONDS, 0))
    return connection


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it has ended by itself
