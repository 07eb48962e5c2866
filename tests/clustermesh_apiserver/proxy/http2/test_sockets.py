"""The server on real sockets with TLS: who gets through the handshake, and who is cut off before it."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aiokit.wait import eventually
from bench import http2
from certs import profile
from certs.errors import CertificateError
from certs.issue import Authority
from clustermesh_apiserver.proxy.call import Call
from clustermesh_apiserver.proxy.caller import Peer, address_of, caller_of
from clustermesh_apiserver.proxy.certificate import read_material
from clustermesh_apiserver.proxy.http2 import server
from clustermesh_apiserver.proxy.http2.server import bind, serving
from clustermesh_apiserver.proxy.http2.wire import PlainWire, name_of
from clustermesh_apiserver.proxy.status import OK, Status
from tests.clustermesh_apiserver.proxy.conftest import write_secret

LARGE = os.urandom(8 << 20)


def issued(authority: Authority, folder: Path, client: profile.Profile) -> Path:
    write_secret(folder, authority.issue(client, datetime.now(UTC)), authority)
    return folder


@dataclass
class Running:
    port: int
    client: Path
    calls: list[Call] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self, alpn: str = "h2") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = ssl.create_default_context(cafile=str(self.client / "ca.crt"))
        context.load_cert_chain(self.client / "tls.crt", self.client / "tls.key")
        context.set_alpn_protocols([alpn])
        opening = asyncio.open_connection("localhost", self.port, ssl=context)
        reader, writer = await asyncio.wait_for(opening, 5)
        self.writers.append(writer)
        return reader, writer


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    authority = Authority.create(datetime.now(UTC))
    own = issued(authority, tmp_path / "server", profile.server("ns"))
    material = read_material({name: (own / name).read_bytes() for name in ("tls.crt", "tls.key", "ca.crt")})
    found = Running(0, issued(authority, tmp_path / "client", profile.remote("west")))

    async def answer(call: Call) -> Status:
        found.calls.append(call)
        await call.write(LARGE)
        return OK

    made = material.context()
    sock = bind("127.0.0.1:0")
    async with serving(
        sock, answer, lambda peer: caller_of(peer, "east"), lambda: made, grace=0.2
    ) as found.port:
        yield found
    for writer in found.writers:
        writer.transport.abort()


async def test_a_large_answer_arrives_whole_and_its_client_is_known(running: Running) -> None:
    reader, writer = await running.connect()
    writer.write(http2.opening() + http2.grpc_call(1, "/a/b", "east", b""))
    received, messages, whole = bytearray(), http2.Messages(), list[bytes]()
    async with asyncio.timeout(10):
        while not whole:
            received += await reader.read(1 << 20)
            for kind, _, _, payload in http2.frames(received):
                whole += messages.feed(payload) if kind == http2.DATA else ()
    assert whole == [LARGE]
    caller = running.calls[0].caller
    assert caller.role.name == "remote-west"
    assert caller.peer.startswith("ipv4:127.0.0.1:")


async def test_a_client_that_speaks_another_protocol_is_hung_up_on(running: Running) -> None:
    reader, _ = await running.connect("http/1.1")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    assert running.calls == []


async def test_half_a_handshake_is_cut_off_and_holds_nobody_up(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "BEGIN_SECONDS", 0.1)
    with socket.create_connection(("127.0.0.1", running.port)) as half:
        half.setblocking(False)
        half.send(b"\x16\x03\x01\x00\xf0\x01")  # the beginning of a greeting
        await running.connect()

        def is_cut_off() -> bool:
            try:
                return half.recv(1) == b""
            except BlockingIOError:
                return False
            except ConnectionResetError:
                return True

        await eventually(is_cut_off)


async def test_handshakes_that_are_not_done_are_bounded(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_UNKNOWN", 3)
    silent = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(3)]

    async def is_turned_away() -> bool:
        try:
            await running.connect()
        except (ConnectionError, ssl.SSLError):
            return True
        return False

    await eventually(is_turned_away)
    for one in silent:
        one.close()
    await eventually(lambda: is_served(running))


async def is_served(running: Running) -> bool:
    try:
        await running.connect()
    except (ConnectionError, ssl.SSLError):
        return False
    return True


async def test_garbage_instead_of_a_handshake_or_within_ends_its_connection(
    running: Running,
) -> None:
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(600), http2.opening()):
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(garbage)
        said = await asyncio.wait_for(reader.read(), 5)
        assert len(said) <= 7  # at most an alert
        writer.close()
        await writer.wait_closed()
    _, writer = await running.connect()
    raw: socket.socket = writer.get_extra_info("socket")
    os.write(raw.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))  # a record that nobody encrypted
    assert await is_served(running)


async def test_the_end_comes_although_a_client_does_not_read(running: Running) -> None:
    """Left to the fixture: it ends in its grace, and not when this answer has been read."""
    reader, writer = await running.connect()
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(http2.opening() + http2.grpc_call(1, "/a/b", "east", b""))
    await eventually(lambda: len(running.calls) == 1)


def test_a_key_that_tls_does_not_take_is_reported() -> None:
    authority = Authority.create(datetime.now(UTC))
    good = authority.issue(profile.server("ns"), datetime.now(UTC))
    trust = authority.issued.certificate_pem
    material = read_material({"tls.crt": good.certificate_pem, "tls.key": good.key_pem, "ca.crt": trust})
    object.__setattr__(material, "key_pem", b"")
    with pytest.raises(CertificateError, match="TLS does not take them"):
        material.context()


@pytest.mark.parametrize(
    ("peer", "name", "address"),
    [
        (("10.0.0.1", 7), "ipv4:10.0.0.1:7", "ipv4:10.0.0.1"),
        (("::ffff:10.0.0.1", 7, 0, 0), "ipv4:10.0.0.1:7", "ipv4:10.0.0.1"),
        (("fd00::1", 7, 0, 0), "ipv6:[fd00::1]:7", "ipv6:[fd00::1]"),
    ],
)
def test_peers_have_the_names_that_grpc_gives_them(peer: object, name: str, address: str) -> None:
    assert name_of(peer) == name
    assert address_of(name) == address


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "127.0.0.1:0", "localhost:0"])
def test_any_address_can_be_listened_on(address: str) -> None:
    with bind(address) as bound, socket.create_connection(("127.0.0.1", bound.getsockname()[1])):
        pass


class Nobody:
    """A host that lets everybody in and knows nobody."""

    def accept(self, _wire: PlainWire) -> bool:
        return True

    def begin(self, _wire: PlainWire, _peer: Peer) -> None:
        return None

    def gone(self, _wire: PlainWire) -> None:
        return None


async def test_what_is_sent_does_not_wait_for_what_was_sent_before() -> None:
    told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    class Seen(PlainWire):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            accepted = transport.get_extra_info("socket")
            told.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    bound = bind("127.0.0.1:0")  # asyncio leaves the option off for sockets of such listeners
    listener = await asyncio.get_running_loop().create_server(lambda: Seen(Nobody()), sock=bound)
    _, writer = await asyncio.open_connection(*bound.getsockname())
    assert await asyncio.wait_for(told, 5)
    writer.close()
    await writer.wait_closed()
    listener.close()
