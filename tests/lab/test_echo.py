"""The echo server speaks enough HTTP/1.1 for every client the lab's tests use."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from aiokit.wait import eventually
from lab import echo

PLACE = {"cluster": "east", "node": "node-1", "pod": "web-1", "namespace": "default"}


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await echo.converse(reader, writer, PLACE)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def test_it_says_where_it_runs_and_who_asked() -> None:
    async with (
        serving() as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/any") as answer,
    ):
        assert answer.status == 200
        assert await answer.json() == {**PLACE, "peer": "127.0.0.1"}


async def test_a_connection_serves_many_requests_and_their_bodies() -> None:
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nConnection: close\r\n\r\n"
        )
        said = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert said.count(b"HTTP/1.1 200 OK") == 2
        assert said.count(b'"pod": "web-1"') == 2
        assert said.count(b"Connection: close") == 1


async def test_an_old_client_and_a_head_request_are_answered() -> None:
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HEAD / HTTP/1.0\r\n\r\n")
        said = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert said.endswith(b"\r\n\r\n")
        assert b"Content-Length: " in said


async def test_nonsense_ends_only_its_own_connection() -> None:
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x" * 100_000)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()


def test_the_answer_is_json_of_the_announced_length() -> None:
    head, _, body = echo.answer(PLACE, "10.1.1.1", close=False).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert msgspec.json.decode(body)["peer"] == "10.1.1.1"


def test_whereabouts_come_from_the_environment() -> None:
    env = {"CLUSTER_NAME": "east", "NODE_NAME": "node-1", "POD_NAME": "web-1", "POD_NAMESPACE": "default"}
    assert echo.whereabouts(env) == PLACE


async def test_a_datagram_is_answered_with_where_it_was_received() -> None:
    loop = asyncio.get_running_loop()
    answers: asyncio.Queue[bytes] = asyncio.Queue(1)

    class Asking(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
            answers.put_nowait(data)

    server, _ = await loop.create_datagram_endpoint(
        lambda: echo.Datagrams(PLACE), local_addr=("127.0.0.1", 0)
    )
    client, _ = await loop.create_datagram_endpoint(Asking, remote_addr=server.get_extra_info("sockname")[:2])
    try:
        client.sendto(b"?")
        said = msgspec.json.decode(await asyncio.wait_for(answers.get(), 5))
        assert said == {**PLACE, "peer": "127.0.0.1"}
    finally:
        client.close()
        server.close()


async def test_it_answers_at_addresses_of_both_families_over_both_protocols() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    names = ("CLUSTER_NAME", "NODE_NAME", "POD_NAME", "POD_NAMESPACE")
    env = os.environ | dict(zip(names, PLACE.values(), strict=True))
    running = subprocess.Popen([sys.executable, "-m", "lab.echo", str(port)], env=env)
    try:
        for host in ("127.0.0.1", "::1"):
            await eventually(lambda host=host: is_open(host, port))  # type: ignore[misc]
            answer = await asyncio.to_thread(datagram, host, port)
            assert msgspec.json.decode(answer) == {**PLACE, "peer": host}
    finally:
        running.terminate()
        await asyncio.to_thread(running.wait, 10)


def is_open(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


def datagram(host: str, port: int) -> bytes:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(b"?", (host, port))
        return client.recv(4096)
