"""Writes clusters into a real etcd, and keeps changing them: what a cluster mesh has to cope with.

Transactions of about 100 keys, several at once: etcd takes 50,000 keys a second so. The canaries are written
last, as an exporter does. `Churn` changes entries at a steady rate, as pods come, go and are replaced.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, count, islice
from typing import Any

import grpc.aio

from bench.cluster import KINDS, Cluster, Pair
from bench.progress import progress
from kvstore import messages as m
from kvstore.methods import DELETE_RANGE, PUT, TXN, Method
from mesh import keys
from mesh.keys import Kind

KEYS_A_TRANSACTION = 100  # etcd takes up to 128
TRANSACTIONS_AT_ONCE = 16
BEAT_SECONDS = 30.0


async def write(
    channel: Any, pairs: Iterable[Pair], *, lease: int = 0, written: Callable[[int], object] = lambda _: None
) -> None:
    """Store all pairs. `written` is told how many more are."""
    call = _call(channel, TXN)
    at_once = asyncio.Semaphore(TRANSACTIONS_AT_ONCE)

    async def put(some: tuple[Pair, ...]) -> None:
        transaction = m.TxnRequest()
        for key, value in some:
            transaction.success.add(request_put=m.PutRequest(key=key, value=value, lease=lease))
        try:
            await call(transaction)
            written(len(some))
        finally:
            at_once.release()

    async with asyncio.TaskGroup() as group:
        for some in batches(pairs, KEYS_A_TRANSACTION):
            await at_once.acquire()
            group.create_task(put(some), name="write")


def batches(pairs: Iterable[Pair], size: int) -> Iterator[tuple[Pair, ...]]:
    rest = iter(pairs)
    while some := tuple(islice(rest, size)):
        yield some


async def write_cluster(
    channel: Any, cluster: Cluster, written: Callable[[int], object] = lambda _: None
) -> None:
    """All of it; complete, its canaries say, when this returns."""
    await beat(channel)
    await write(channel, everything(cluster), written=written)
    await write(channel, [*cluster.canaries(), cluster.config()])


def everything(cluster: Cluster) -> Iterator[Pair]:
    return chain.from_iterable(map(cluster.pairs, KINDS))


async def fill(address: str, cluster: Cluster, rate: float, seconds: float) -> None:
    """What the command does: a cluster into the etcd at `address`, then `rate` changes a second."""
    async with grpc.aio.insecure_channel(address) as channel:
        with progress(f"writing {cluster.name}", cluster.shape.total) as written:
            await write_cluster(channel, cluster, written)
        changes = int(rate * seconds)
        if changes:
            with progress("changing", changes) as changed:
                await Churn(cluster, replaces=False, changed=changed).run(channel, rate, changes)


async def beat(channel: Any) -> None:
    await _call(channel, PUT)(m.PutRequest(key=keys.HEARTBEAT, value=str(time.time()).encode()))


async def beating(channel: Any) -> None:
    """Until cancelled: without it readers take the cluster for dead after two minutes."""
    while True:
        await beat(channel)
        await asyncio.sleep(BEAT_SECONDS)


@dataclass
class Sent:
    """One put: when it left and when etcd said that it is stored, on the monotonic clock; nanoseconds."""

    sent: int
    stored: int = 0


@dataclass
class Churn:
    """Changes to the addresses of a cluster. `replaces`: pods get other identities, each pod once in turn;
    otherwise every second change lets a pod go whose address a new one takes half a turn later."""

    cluster: Cluster
    replaces: bool = True
    puts: dict[str, Sent] = field(default_factory=dict)
    changed: Callable[[int], object] = lambda _: None
    late_ms: float = 0.0  # how far the generator itself fell behind

    async def run(self, channel: Any, rate: float, changes: int | None = None, *, first: int = 0) -> None:
        """`changes` of them (None: until cancelled), evenly `rate` a second."""
        put, delete = _call(channel, PUT), _call(channel, DELETE_RANGE)
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in count() if changes is None else range(changes):
                wait = begun + number / rate - time.monotonic()
                self.late_ms = max(self.late_ms, -wait * 1000)
                if wait > 0:
                    await asyncio.sleep(wait)
                group.create_task(self._change(put, delete, first + number), name=f"change {number}")

    async def _change(self, put: Any, delete: Any, number: int) -> None:
        endpoints = self.cluster.shape.endpoints
        if self.replaces or number % 2 == 0:
            which = number % endpoints
            suffix, value = self.cluster.endpoint(which, 1 + number // endpoints)
            told = self.puts[suffix] = Sent(time.monotonic_ns())
            await put(m.PutRequest(key=self.cluster.prefix(Kind.IPS) + suffix.encode(), value=value))
            told.stored = time.monotonic_ns()
        else:
            which = (number + endpoints // 2) % endpoints
            await delete(
                m.DeleteRangeRequest(key=self.cluster.prefix(Kind.IPS) + self.cluster.address(which).encode())
            )
        self.changed(1)


def _call(channel: Any, method: Method[Any, Any]) -> Any:
    return channel.unary_unary(method.path, method.request.SerializeToString, method.response.FromString)
