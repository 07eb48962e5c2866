"""The simulated network: everything that may happen between a client and an etcd.

A `Wire` joins one client (a reader, a writer) to one store, and can be cut, slow, or lose answers. A `Link`
is one connection over it. Stores keep real time-to-live of leases, by the loop's clock. What the store does
is `kvstore.memory`'s; nothing of ours is imitated here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from kvstore.backend import Backend, KeyValue, ModRevisionIs, Op
from kvstore.errors import ClusterChangedError, TransientError
from kvstore.memory import MemoryBackend
from kvstore.watch import Changes, Event

T = TypeVar("T")

CALL_SECONDS = 25.0  # a call without an answer ends after this
STALL_SECONDS = 80.0  # a stream without a sign of life ends after this
REAP_SECONDS = 20.0
SYNCED = b"cilium/synced/"


class SimStore:
    """One etcd, seen from all sides. `incarnation` grows when another, empty one takes its place."""

    def __init__(self, name: str, lost: Callable[[str], None]) -> None:
        self.name = name
        self.incarnation = 0
        self.announced: set[bytes] = set()  # synced keys ever written to this incarnation
        self._lost = lost
        self._backend = MemoryBackend()
        self._deadlines: dict[int, tuple[float, int]] = {}

    def client(self) -> MemoryBackend:
        return self._backend.another_client()

    def entries(self) -> dict[bytes, bytes]:
        return dict(self._backend.entries)

    def replace(self) -> None:
        self.incarnation += 1
        self.announced.clear()
        self._deadlines.clear()
        self._backend.replace_cluster()

    def compact(self) -> None:
        self._backend.compact()

    def granted(self, lease: int, ttl: int) -> None:
        self._deadlines[lease] = (asyncio.get_running_loop().time() + ttl, ttl)

    def refreshed(self, lease: int) -> None:
        if lease in self._deadlines:
            self.granted(lease, self._deadlines[lease][1])

    def leases(self) -> list[int]:
        return sorted(self._deadlines)

    def expire(self, lease: int) -> None:
        self._deadlines.pop(lease, None)
        self._lost(self.name)
        self._backend.expire(lease)

    async def reap(self) -> None:
        """End leases whose time is over, for ever."""
        while True:
            await asyncio.sleep(REAP_SECONDS)
            now = asyncio.get_running_loop().time()
            for lease in [lease for lease, (until, _) in self._deadlines.items() if until < now]:
                self.expire(lease)


@dataclass
class Wire:
    """How it is between one client and one store now. `cut`: "refused" fails at once, "silent" hangs."""

    store: SimStore
    chance: Random
    delay: float = 0.002
    cut: str = ""
    lose_answers: float = 0.0
    hang_up_after: float = 0.0  # streams live no longer than this
    replicas: bool = False  # ... and then go on with another etcd, as behind a careless load balancer
    untidy: bool = False  # streams repeat, split and pad what they deliver, as etcd may
    mended: asyncio.Event = field(default_factory=asyncio.Event)
    links: set[Link] = field(default_factory=set)
    dialled: list[float] = field(default_factory=list)
    listed: dict[bytes, list[float]] = field(default_factory=dict)

    def sever(self, how: str) -> None:
        self.cut = how
        self.mended.clear()
        if how == "refused":
            self.reset()

    def mend(self) -> None:
        self.cut = ""
        self.mended.set()

    def reset(self) -> None:
        for link in sorted(self.links, key=lambda link: link.number):
            link.client.break_streams()

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[Backend]:
        self.dialled.append(asyncio.get_running_loop().time())
        link = Link(self, len(self.dialled))
        self.links.add(link)
        try:
            yield link
        finally:
            self.links.discard(link)

    async def cross(self, patience: float) -> None:
        await asyncio.sleep(self.delay * (0.5 + self.chance.random()))
        if self.cut == "silent":
            try:
                async with asyncio.timeout(patience):
                    await self.mended.wait()
            except TimeoutError:
                raise TransientError("no answer") from None
        if self.cut:
            raise TransientError("connection refused")


class Link:
    """One connection. Satisfies `kvstore.backend.Backend`."""

    def __init__(self, wire: Wire, number: int) -> None:
        self.client = wire.store.client()
        self.number = number
        self.is_elsewhere = False
        self.incarnation = wire.store.incarnation
        self._wire = wire

    @property
    def cluster_id(self) -> int:
        return self.client.cluster_id

    async def get(self, key: bytes) -> KeyValue | None:
        return await self._read(self.client.get(key))

    async def get_prefix(self, prefix: bytes) -> list[KeyValue]:
        return await self._read(self.client.get_prefix(prefix))

    def listwatch(
        self, prefix: bytes, *, single: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        return aclosing(self._events(prefix, single=single))

    async def _events(self, prefix: bytes, *, single: bool) -> AsyncGenerator[Event, None]:
        wire = self._wire
        await wire.cross(CALL_SECONDS)
        loop = asyncio.get_running_loop()
        wire.listed.setdefault(prefix, []).append(loop.time())
        if wire.hang_up_after:
            loop.call_later(wire.hang_up_after, self._hang_up)
        try:
            async with self.client.listwatch(prefix, single=single) as events:
                async for event in events:
                    await wire.cross(STALL_SECONDS)
                    for piece in self._pieces(event):
                        yield piece
        except TransientError as error:
            if self.is_elsewhere:
                raise ClusterChangedError("the answer came from another replica") from error
            raise

    def _hang_up(self) -> None:
        self.is_elsewhere = self._wire.replicas
        self.client.break_streams()

    def _pieces(self, event: Event) -> list[Event]:
        if not isinstance(event, Changes) or not self._wire.untidy:
            return [event]
        chance = self._wire.chance
        pieces: list[Event] = [event]
        if len(event.changes) > 1 and chance.random() < 0.5:
            at = chance.randrange(1, len(event.changes))
            pieces = [
                Changes(event.revision, event.changes[:at]),
                Changes(event.revision, event.changes[at:]),
            ]
        if chance.random() < 0.3:
            pieces.append(Changes(event.revision, []))
        if chance.random() < 0.3:
            pieces.append(event)  # once more: the last thing that was said of these keys
        return pieces

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> None:
        async def put() -> None:
            await self.client.put(key, value, lease=lease)
            if key.startswith(SYNCED):
                self._wire.store.announced.add(key)

        await self._write(put)

    async def delete(self, key: bytes) -> bool:
        return await self._write(lambda: self.client.delete(key))

    async def delete_prefix(self, prefix: bytes) -> int:
        return await self._write(lambda: self.client.delete_prefix(prefix))

    async def txn(self, ops: Sequence[Op], guards: Sequence[ModRevisionIs] = ()) -> bool:
        return await self._write(lambda: self.client.txn(ops, guards))

    async def lease_grant(self, ttl_seconds: int) -> int:
        async def grant() -> int:
            lease = await self.client.lease_grant(ttl_seconds)
            self._wire.store.granted(lease, ttl_seconds)
            return lease

        return await self._write(grant)

    async def lease_keepalive(self, lease: int) -> int:
        async def refresh() -> int:
            remaining = await self.client.lease_keepalive(lease)
            self._wire.store.refreshed(lease)
            return remaining

        return await self._write(refresh)

    async def lease_revoke(self, lease: int) -> None:
        await self._write(lambda: self.client.lease_revoke(lease))

    async def _read(self, answer: Awaitable[T]) -> T:
        try:
            await self._wire.cross(CALL_SECONDS)
        except BaseException:
            _discard(answer)
            raise
        return await answer

    async def _write(self, call: Callable[[], Awaitable[T]]) -> T:
        await self._wire.cross(CALL_SECONDS)
        result = await call()
        if self._wire.lose_answers and self._wire.chance.random() < self._wire.lose_answers:
            raise TransientError("written, but the answer was lost")
        await self._wire.cross(CALL_SECONDS)
        return result


def _discard(answer: object) -> None:
    close = getattr(answer, "close", None)
    if close is not None:
        close()  # a coroutine that was never begun
