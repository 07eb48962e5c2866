"""An etcd for measurements, and what fills it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio

from bench.process import child, wait_listening
from kvstore import messages as m
from kvstore.methods import PUT, TXN

PREFIX, END = b"cilium/state/", b"cilium/state0"
VALUE_BYTES = 304  # of an address's entry, as agents write it
_BATCH = 100  # keys in a transaction: etcd takes up to 128
_AT_ONCE = 16


@dataclass(frozen=True)
class Store:
    address: str
    pid: int
    channel: Any

    async def fill(self, keys: int) -> None:
        """Store that many entries of addresses."""
        call = self.channel.unary_unary(TXN.path, TXN.request.SerializeToString, TXN.response.FromString)
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def put(start: int) -> None:
            transaction = m.TxnRequest()
            for number in range(start, min(start + _BATCH, keys)):
                key = PREFIX + b"ip/v1/default/10.%d.%d.%d" % (number >> 16, number >> 8 & 255, number & 255)
                transaction.success.add(request_put=m.PutRequest(key=key, value=bytes(VALUE_BYTES)))
            async with at_once:
                await call(transaction)

        async with asyncio.TaskGroup() as group:
            for start in range(0, keys, _BATCH):
                group.create_task(put(start), name=f"fill from {start}")

    async def put_at(self, rate: float, count: int) -> None:
        """`count` changes, `rate` a second; each value begins with the time at which it was sent."""
        call = self.channel.unary_unary(PUT.path, PUT.request.SerializeToString, PUT.response.FromString)
        padding = bytes(VALUE_BYTES - 8)

        async def put(number: int) -> None:
            value = time.monotonic_ns().to_bytes(8, "big") + padding
            await call(m.PutRequest(key=PREFIX + b"bench/%04d" % (number % 1000), value=value))

        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
                group.create_task(put(number), name=f"put {number}")


@asynccontextmanager
async def running_store(folder: Path) -> AsyncGenerator[Store]:
    """An etcd of one member, on loopback, that does not wait for the disk: not what is measured here."""
    port, peer_port = free_port(), free_port()
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    arguments = [
        *("etcd", "--name", "bench", "--data-dir", str(folder / "etcd"), "--log-level", "error"),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
        *("--initial-cluster", f"bench={peer}", "--unsafe-no-fsync"),
    ]
    log = folder / "etcd.log"
    options = [("grpc.max_receive_message_length", -1)]
    async with child(*arguments, log=log) as process:
        await wait_listening(port, process, log)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            yield Store(f"127.0.0.1:{port}", process.pid, channel)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
