"""Many watchers in one process: how soon does each of them have every event?

Run as a program of its own, so that its cost is not mistaken for the proxy's. Prints `ready`, then (when
every watcher has all events, or nothing more comes) one JSON object.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import ssl
import sys
import time
from array import array
from pathlib import Path

from bench import http2
from bench.figure import percentile
from bench.store import END, PREFIX
from kvstore import messages as m
from kvstore.methods import WATCH

READY_SECONDS = 60.0
SILENCE_SECONDS = 10.0  # after this nothing more will come
_READ_BYTES = 1 << 18
_ALPN = ["h2"]


class Connection:
    """Some watchers over one connection, and what they have got."""

    def __init__(self, sock: socket.socket, watchers: int, authority: str) -> None:
        self.sock = sock
        self.created = 0
        self.messages = 0
        self.delivered = 0
        self.latencies = array("d")
        self.last = 0.0
        self._received = bytearray()
        self._streams = {2 * number + 1: http2.Messages() for number in range(watchers)}
        self._revisions = dict.fromkeys(self._streams, 0)
        watch = m.WatchRequest(create_request=m.WatchCreateRequest(key=PREFIX, range_end=END))
        request = watch.SerializeToString()
        calls = [http2.grpc_call(stream, WATCH.path, authority, request) for stream in self._streams]
        sock.sendall(http2.opening() + b"".join(calls))

    def read(self) -> None:
        """Whatever is there. Raises ConnectionError when the server ends a stream or the connection."""
        while True:
            try:
                data = self.sock.recv(_READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            if not data:
                raise ConnectionError("the server closed the connection")
            self._received += data
            for frame in http2.frames(self._received):
                self._heard(*frame)

    def _heard(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == http2.DATA:
            for message in self._streams[stream].feed(payload):
                self._told(stream, m.WatchResponse.FromString(message))
        elif kind == http2.SETTINGS and not flags & http2.ACK:
            self.sock.sendall(http2.frame(http2.SETTINGS, http2.ACK, 0))
        elif kind == http2.PING and not flags & http2.ACK:
            self.sock.sendall(http2.frame(http2.PING, http2.ACK, 0, payload))
        elif kind in (http2.RST_STREAM, http2.GOAWAY) or (kind == http2.HEADERS and flags & http2.END_STREAM):
            raise ConnectionError(f"the server ended stream {stream}: frame {kind} {payload!r}")

    def _told(self, stream: int, answer: m.WatchResponse) -> None:
        if answer.created:
            self.created += 1
            return
        now = time.monotonic_ns()
        self.messages += 1
        for event in answer.events:
            revision = event.kv.mod_revision
            if revision <= self._revisions[stream]:
                raise ConnectionError("an event came twice, or too late")
            self._revisions[stream] = revision
            self.latencies.append((now - int.from_bytes(event.kv.value[:8], "big")) / 1e6)
        self.delivered += len(answer.events)
        self.last = now / 1e9


def connect(address: str, tls: Path | None) -> socket.socket:
    host, _, port = address.rpartition(":")
    sock = socket.create_connection((host, int(port)), timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is None:
        return sock
    context = ssl.create_default_context(cafile=str(tls / "ca.crt"))
    context.load_cert_chain(tls / "tls.crt", tls / "tls.key")
    context.set_alpn_protocols(_ALPN)
    return context.wrap_socket(sock, server_hostname="localhost")


def run(address: str, tls: Path | None, *, connections: int, watchers: int, events: int) -> dict[str, float]:
    selector = selectors.DefaultSelector()
    shares = [watchers // connections + (number < watchers % connections) for number in range(connections)]
    every = [Connection(connect(address, tls), share, address) for share in shares if share]
    for one in every:
        one.sock.setblocking(False)
        selector.register(one.sock, selectors.EVENT_READ, one)
    _read_until(selector, lambda: sum(one.created for one in every) == watchers, READY_SECONDS)
    print("ready", flush=True)  # noqa: T201 - this is a program's output
    cpu = time.process_time()
    wanted = watchers * events
    _read_until(selector, lambda: sum(one.delivered for one in every) >= wanted, SILENCE_SECONDS)
    latencies = [latency for one in every for latency in one.latencies]
    return {
        "delivered": sum(one.delivered for one in every),
        "wanted": wanted,
        "messages": sum(one.messages for one in every),
        "last": max(one.last for one in every),
        "p50_ms": percentile(latencies, 50),
        "p99_ms": percentile(latencies, 99),
        "cpu_seconds": time.process_time() - cpu,
    }


def _read_until(selector: selectors.BaseSelector, is_done: object, silence: float) -> None:
    assert callable(is_done)
    while not is_done():
        ready = selector.select(silence)
        if not ready:
            return
        for key, _ in ready:
            key.data.read()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--tls", type=Path)
    for name in ("connections", "watchers", "events"):
        parser.add_argument(f"--{name}", type=int, required=True)
    told = parser.parse_args()
    outcome = run(
        told.address, told.tls, connections=told.connections, watchers=told.watchers, events=told.events
    )
    json.dump(outcome, sys.stdout)


if __name__ == "__main__":
    main()
