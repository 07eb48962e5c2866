"""The lab's web server: answers every HTTP/1.1 request and every datagram with where it runs and who asked.

Only the standard library, so that a pod starts in a few hundredths of a second; connections are kept
alive. It reads a request's head and ignores everything in it but `Connection` and the body's length.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

PORT = 8080
_HEAD_LIMIT = 16 * 1024
_BODY_LIMIT = 1 << 20
_LAME_SECONDS = 0.7  # still answering while the news of our end travels; as a preStop hook would
_IDLE_SECONDS = 300.0  # a silent client is let go
_BACKLOG = 1024
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d+)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_CLOSE = re.compile(rb"^connection:[^\r\n]*close", re.IGNORECASE | re.MULTILINE)


def whereabouts(env: Mapping[str, str]) -> dict[str, str]:
    return {
        "cluster": env.get("CLUSTER_NAME", ""),
        "node": env.get("NODE_NAME", ""),
        "pod": env.get("POD_NAME", ""),
        "namespace": env.get("POD_NAMESPACE", ""),
    }


def body(place: Mapping[str, str], peer: str) -> bytes:
    return json.dumps({**place, "peer": peer}).encode() + b"\n"


def answer(place: Mapping[str, str], peer: str, *, close: bool, head_only: bool = False) -> bytes:
    content = body(place, peer)
    connection = b"Connection: close\r\n" if close else b""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n"
    return head % (len(content), connection) + (b"" if head_only else content)


def is_last(head: bytes) -> bool:
    """Whether the client asked for the connection's end with this request."""
    return bool(_CLOSE.search(head)) or head.split(b"\r\n", 1)[0].endswith(b"HTTP/1.0")


def body_length(head: bytes) -> int:
    match = _LENGTH.search(head)
    return int(match[1]) if match else 0


async def converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, place: Mapping[str, str]
) -> None:
    peer = writer.get_extra_info("peername")[0]
    try:
        close = False
        while not close:
            async with asyncio.timeout(_IDLE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                if (length := body_length(head)) > _BODY_LIMIT:
                    break
                await reader.readexactly(length)
                close = is_last(head)
                writer.write(answer(place, peer, close=close, head_only=head.startswith(b"HEAD ")))
                await writer.drain()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ConnectionError):
        pass  # the client left, or never spoke HTTP: nobody is there to be told
    finally:
        writer.close()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, place: Mapping[str, str]) -> None:
        self._place = place
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[Any, ...]) -> None:
        if self._transport:
            self._transport.sendto(body(self._place, address[0]), address)


async def serve(hosts: Sequence[str], port: int, place: Mapping[str, str]) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await converse(reader, writer, place)

    server = await asyncio.start_server(
        handle, hosts, port, limit=_HEAD_LIMIT, backlog=_BACKLOG, reuse_address=True
    )
    datagrams = [
        (await loop.create_datagram_endpoint(lambda: Datagrams(place), sock=_bound(host, port)))[0]
        for host in hosts
    ]
    where = " and ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts)
    print(f"echo: listening on {where}", file=sys.stderr, flush=True)  # noqa: T201 - a program's own log
    await ended.wait()
    await asyncio.sleep(_LAME_SECONDS)
    for each in datagrams:
        each.close()
    server.close()  # open connections end with the process


def _bound(host: str, port: int) -> socket.socket:
    """For datagrams of one family: asyncio's own would take both at `::`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    opened.setblocking(False)
    opened.bind((host, port))
    return opened


def everywhere() -> list[str]:
    """All addresses of the families that the kernel has."""
    return ["0.0.0.0", "::"] if os.path.exists("/proc/sys/net/ipv6") else ["0.0.0.0"]  # noqa: PTH110 - quick


def main(argv: list[str]) -> None:
    port = int(argv[1]) if len(argv) > 1 else PORT
    asyncio.run(serve(everywhere(), port, whereabouts(os.environ)))


if __name__ == "__main__":
    main(sys.argv)
