"""A socket below a connection: with TLS in memory, or plain.

TLS is done here and not by the loop's own transport, so that every handshake uses the newest context, a
client that does not finish it can be cut off, and a thousand idle connections do not each hold a buffer.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from clustermesh_apiserver.proxy.caller import Peer
from clustermesh_apiserver.proxy.http2.connection import Connection
from clustermesh_apiserver.proxy.http2.sender import ROOM_BYTES

READ_BYTES = 65_536
CLOSE_SECONDS = 2.0  # for what was written last to leave, then the socket is cut
PROTOCOL = "h2"


class Host(Protocol):
    """The server, as its sockets see it."""

    def accept(self, wire: PlainWire) -> bool:
        """A client has come; False: there are too many."""

    def begin(self, wire: PlainWire, peer: Peer) -> Connection | None:
        """It is known who it is; None: nobody who can be told apart."""

    def failed(self, wire: PlainWire, error: ssl.SSLError) -> None:
        """Its handshake came to nothing."""

    def gone(self, wire: PlainWire) -> None: ...


class PlainWire(asyncio.Protocol):
    """Without encryption: for benchmarks and tests."""

    def __init__(self, host: Host) -> None:
        self.opened_at = asyncio.get_running_loop().time()
        self.connection: Connection | None = None
        self.address = ""
        self._host = host
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(ROOM_BYTES)
        # asyncio does this only where the listener named its protocol: an event would wait 40 ms for an ACK
        if (accepted := transport.get_extra_info("socket")) is not None:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = name_of(transport.get_extra_info("peername"))
        if self._host.accept(self):
            self._begin()
        else:
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._host.gone(self)
        if self.connection is not None:
            self.connection.lost()
            self.connection = None

    def pause_writing(self) -> None:
        if self.connection is not None:
            self.connection.pause()

    def resume_writing(self) -> None:
        if self.connection is not None:
            self.connection.resume()

    def data_received(self, data: bytes) -> None:
        if self.connection is not None:
            self.connection.received(data)

    def write(self, raw: bytes) -> None:
        if self._transport is not None:
            self._transport.write(raw)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.abort)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _begin(self) -> None:
        self._start(Peer(self.address, b""))

    def _start(self, peer: Peer) -> None:
        self.connection = self._host.begin(self, peer)
        if self.connection is None:
            self.close()


class TlsWire(PlainWire):
    """`context`: what handshakes use now."""

    def __init__(self, host: Host, context: Callable[[], ssl.SSLContext]) -> None:
        super().__init__(host)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context().wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._is_secure = False

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        try:
            if not self._is_secure:
                self._shake_hands()
            if self._is_secure:
                self._read()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:  # no certificate, a bad one, an old protocol, or the end of the session
            if not self._is_secure:
                self._host.failed(self, error)
            self._flush()
            super().close()

    def write(self, raw: bytes) -> None:
        try:
            view = memoryview(raw)
            while view:
                view = view[self._tls.write(view) :]
        except ssl.SSLError:
            self.abort()
        else:
            self._flush()

    def close(self) -> None:
        if self._is_secure:
            with suppress(ssl.SSLError):
                self._tls.unwrap()
            self._flush()
        super().close()

    def _begin(self) -> None:
        """Wait for the handshake."""

    def _shake_hands(self) -> None:
        self._tls.do_handshake()
        self._flush()
        self._is_secure = True
        if self._tls.selected_alpn_protocol() == PROTOCOL:
            self._start(Peer(self.address, chain_of(self._tls)))
        else:
            self.close()

    def _read(self) -> None:
        """Whatever has come. Raises ssl.SSLError, in the end always."""
        while self.connection is not None and (data := self._tls.read(READ_BYTES)):
            self.connection.received(data)
        if self.connection is not None:
            self.close()

    def _flush(self) -> None:
        if self._outgoing.pending and self._transport is not None:
            self._transport.write(self._outgoing.read())


def name_of(peer: object) -> str:
    """As gRPC names peers: ipv4:10.0.0.1:4711, ipv6:[fd00::1]:4711."""
    match peer:
        case (str(host), int(port), *_):
            mapped = host.removeprefix("::ffff:")
            return f"ipv6:[{host}]:{port}" if ":" in mapped else f"ipv4:{mapped}:{port}"
    return "unknown"


def chain_of(tls: ssl.SSLObject) -> bytes:
    """The client's certificate and what it sent with it, in PEM. Python 3.13 has a public name for this."""
    public = getattr(tls, "get_unverified_chain", None)
    if public is not None:
        return "".join(map(ssl.DER_cert_to_PEM_cert, public())).encode()
    inner: Any = getattr(tls, "_sslobj")  # noqa: B009 - mypy knows no such name
    return "".join(one.public_bytes() for one in inner.get_unverified_chain() or ()).encode()
