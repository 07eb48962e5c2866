"""Numbers for label sets, allocated in our etcd as Cilium does in its kvstore mode (spec 1.1, 2.2, 2.7).

Promises: one label set never gets two numbers, nor one number two sets, also with several allocators on one
etcd, ours or Cilium's: whoever looks for a number holds the label set's lock, and a number is taken by
creating its key. A number outlives its users for a while: it must not come back with another meaning while
peers still know the old one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import NoReturn

from aiokit.backoff import Backoff
from clustermesh_apiserver.identityplan import (
    LOCKS,
    MASTERS,
    SLAVES,
    meant,
    number_of,
    unused,
)
from clustermesh_apiserver.ownstore import (
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    Connect,
    sessions,
)
from k8s.cilium import CiliumIdentity
from k8s.objects import ObjectMeta
from k8s.watch import ObjectDelta
from kvstore.backend import Backend, DeleteOp, KeyValue, ModRevisionIs, PutOp
from kvstore.errors import RefusedError
from kvstore.lease import LeasePool
from kvstore.mutex import lock_lease, locked
from kvstore.syncstore import SyncStore
from mesh.addressing import Identity, PeerScope
from mesh.allocation import candidates

AT_ONCE = 16  # allocations under way: each takes a few round trips
GC_SECONDS = 900.0  # unused for two looks in a row: gone, so after 15 to 30 minutes

log = logging.getLogger(__name__)


class Identities:
    """Hands out numbers for what is wanted. `suffix` tells this writer from others of the same etcd."""

    def __init__(
        self,
        connect: Connect,
        scope: PeerScope,
        suffix: str,
        *,
        lease_ttl_seconds: int,
        gc_seconds: float = GC_SECONDS,
    ) -> None:
        self._connect = connect
        self._scope = scope
        self._suffix = suffix
        self._lease_ttl_seconds = lease_ttl_seconds
        self._gc_seconds = gc_seconds
        self._wanted: frozenset[str] | None = None  # None: not known completely yet
        self._numbers: dict[str, Identity] = {}
        self._changed = asyncio.Event()  # what is wanted
        self._news = asyncio.Event()  # for followers; replaced by each piece of news

    def want(self, texts: Iterable[str]) -> None:
        """All label sets that need a number, once all of them are known."""
        wanted = frozenset(texts)
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()
            self._tell()

    async def follow(self) -> AsyncIterator[ObjectDelta[CiliumIdentity]]:
        """Numbers as they are allocated, keyed by the label set's text. Synced once all wanted have one."""
        told: dict[str, Identity] = {}
        synced = False
        while True:
            news, wanted = self._news, self._wanted
            if wanted is not None:
                now = {text: self._numbers[text] for text in wanted if text in self._numbers}
                is_first = not synced and len(now) == len(wanted)
                synced = synced or is_first
                upserts = {text: _object(number) for text, number in now.items() if told.get(text) != number}
                removes = set(told.keys() - wanted)
                told = now
                if upserts or removes or is_first:
                    yield ObjectDelta(upserts, removes, synced=is_first)
            await news.wait()

    async def run(self) -> NoReturn:
        """Allocate until cancelled. Only bugs propagate."""
        backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        ttl = self._lease_ttl_seconds
        work = partial(self._session, backoff)
        await sessions(self._connect, work, lease_ttl_seconds=ttl, backoff=backoff, name="identities")

    async def _session(self, backoff: Backoff, backend: Backend, leases: LeasePool) -> None:
        self._numbers = {}  # it may be another etcd, where they mean something else
        slaves = SyncStore(backend, SLAVES, leases, synced_key=None, prunes=False)
        async with lock_lease(backend) as lease, asyncio.TaskGroup() as group:
            group.create_task(slaves.run(), name="identities/slaves")
            group.create_task(self._collect(backend, lease), name="identities/gc")
            while True:
                self._changed.clear()
                await self._converge(backend, slaves, lease)
                backoff.reset()
                await self._changed.wait()

    async def _converge(self, backend: Backend, slaves: SyncStore, lease: int) -> None:
        wanted = self._wanted or frozenset()
        for text in [text for text in self._numbers if text not in wanted]:
            del self._numbers[text]
            slaves.remove(self._slave(text))
        missing = [text for text in wanted if text not in self._numbers]
        if not missing:
            return
        masters = await _relative(backend, MASTERS)
        turns = asyncio.Semaphore(AT_ONCE)

        async def allocate(text: str) -> None:
            async with turns:
                try:
                    number = await self._allocate(backend, masters, text, lease)
                except RefusedError as error:  # this one waits; the others must not
                    log.error("no identity for a label set labels=%s error=%s", text, error)
                    return
                self._numbers[text] = number
                slaves.upsert(self._slave(text), str(number).encode())
                self._tell()

        async with asyncio.TaskGroup() as group:
            for text in missing:
                group.create_task(allocate(text), name="allocate identity")

    async def _allocate(
        self, backend: Backend, masters: dict[bytes, bytes], text: str, lease: int
    ) -> Identity:
        """Under the label set's lock. The slave key is written at once, leased to the lock's lease until the
        store's own: whoever gets the lock next must see that the number is used."""
        async with locked(backend, LOCKS + text.encode() + b"/", lease):
            used = await backend.get_prefix(SLAVES + text.encode() + b"/")
            number = _first(used, self._scope) or meant(masters, text, self._scope)
            if number is None or not await _stands(backend, number, text):
                number = await self._claim(backend, masters, text)
            await backend.put(SLAVES + self._slave(text), str(number).encode(), lease=lease)
            return number

    async def _claim(self, backend: Backend, masters: dict[bytes, bytes], text: str) -> Identity:
        for number in candidates(self._scope, text):
            suffix = str(number).encode()
            if suffix in masters and masters[suffix] != text.encode():
                continue
            if await backend.txn(
                [PutOp(MASTERS + suffix, text.encode())], [ModRevisionIs(MASTERS + suffix, 0)]
            ):
                masters[suffix] = text.encode()
                log.info("identity allocated number=%s labels=%s", number, text)
                return number
            if await _stands(backend, number, text):
                return number
        raise RefusedError(f"no free identity for {text!r}")

    async def _collect(self, backend: Backend, lease: int) -> None:
        """Delete master keys that nobody used at two looks in a row, under their locks."""
        before: dict[bytes, bytes] = {}
        while True:
            now = unused(await _relative(backend, MASTERS), await _relative(backend, SLAVES))
            for key in [key for key, value in now.items() if before.get(key) == value]:
                await self._remove(backend, key, now.pop(key), lease)
            before = now
            await asyncio.sleep(self._gc_seconds)

    async def _remove(self, backend: Backend, key: bytes, text: bytes, lease: int) -> None:
        if number_of(key, self._scope) is None or text.decode(errors="replace") in self._numbers:
            return  # another cluster's, or in use by now
        async with locked(backend, LOCKS + text + b"/", lease):
            pair = await backend.get(MASTERS + key)
            if pair is None or pair.value != text or await backend.get_prefix(SLAVES + text + b"/"):
                return
            is_same = ModRevisionIs(MASTERS + key, pair.mod_revision)
            if await backend.txn([DeleteOp(MASTERS + key)], [is_same]):
                log.info("identity is free again number=%s", key.decode())

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _slave(self, text: str) -> bytes:
        return f"{text}/{self._suffix}".encode()


async def _relative(backend: Backend, prefix: bytes) -> dict[bytes, bytes]:
    return {pair.key[len(prefix) :]: pair.value for pair in await backend.get_prefix(prefix)}


async def _stands(backend: Backend, number: Identity, text: str) -> bool:
    pair = await backend.get(MASTERS + str(number).encode())
    return pair is not None and pair.value == text.encode()


def _first(slaves: Iterable[KeyValue], scope: PeerScope) -> Identity | None:
    found = [number_of(pair.value, scope) for pair in slaves]
    return min((number for number in found if number is not None), default=None)


def _object(number: Identity) -> CiliumIdentity:
    return CiliumIdentity(metadata=ObjectMeta(name=str(number)))
