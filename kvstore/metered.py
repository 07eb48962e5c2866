"""A backend whose requests are timed. What it tells the meter is what Cilium's client tells of itself.

Goes directly around the connection, below `kvstore.paced`: waiting for one's turn is not etcd's time.
Leases are not measured, as Cilium does not. Of a watch, the time that its reader took for what it was
given is measured: meanwhile later events wait in the connection.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager

from kvstore import etcd
from kvstore.backend import Backend, KeyValue, ModRevisionIs, Op, PutOp
from kvstore.config import EtcdConfig
from kvstore.errors import KVStoreError, UnansweredError
from kvstore.etcd import EtcdBackend
from kvstore.link import Resolve, by_dns
from kvstore.meter import Meter
from kvstore.watch import Changes, Event, Listing

Clock = Callable[[], float]


class MeteredBackend:
    """Satisfies `kvstore.backend.Backend`."""

    def __init__(self, backend: Backend, meter: Meter, clock: Clock = time.monotonic) -> None:
        self._backend = backend
        self._meter = meter
        self._clock = clock

    @property
    def cluster_id(self) -> int:
        return self._backend.cluster_id

    async def get(self, key: bytes) -> KeyValue | None:
        with self._timed(key, "read", "Get"):
            return await self._backend.get(key)

    async def get_prefix(self, prefix: bytes) -> list[KeyValue]:
        with self._timed(prefix, "read", "ListPrefix"):
            return await self._backend.get_prefix(prefix)

    def listwatch(
        self, prefix: bytes, *, single: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        return aclosing(self._listwatch(prefix, single))

    async def _listwatch(self, prefix: bytes, single: bool) -> AsyncGenerator[Event, None]:
        async with self._backend.listwatch(prefix, single=single) as events:
            async for event in events:
                since = self._clock()
                yield event
                seconds = self._clock() - since
                for action, count in _counts(event).items():
                    self._meter.event(prefix, action, seconds, count)

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> None:
        with self._timed(key, "set", "Set"):
            await self._backend.put(key, value, lease=lease)

    async def delete(self, key: bytes) -> bool:
        with self._timed(key, "delete", "Delete"):
            return await self._backend.delete(key)

    async def delete_prefix(self, prefix: bytes) -> int:
        with self._timed(prefix, "delete", "DeletePrefix"):
            return await self._backend.delete_prefix(prefix)

    async def txn(self, ops: Sequence[Op], guards: Sequence[ModRevisionIs] = ()) -> bool:
        """Ours come in batches of one scope; Cilium has no such request and no word for it."""
        key = ops[0].key if ops else b""
        kind = "set" if any(isinstance(op, PutOp) for op in ops) else "delete"
        with self._timed(key, kind, "Txn"):
            return await self._backend.txn(ops, guards)

    async def lease_grant(self, ttl_seconds: int) -> int:
        return await self._backend.lease_grant(ttl_seconds)

    async def lease_keepalive(self, lease: int) -> int:
        return await self._backend.lease_keepalive(lease)

    async def lease_revoke(self, lease: int) -> None:
        await self._backend.lease_revoke(lease)

    @contextmanager
    def _timed(self, key: bytes, kind: str, action: str) -> Iterator[None]:
        since = self._clock()
        try:
            yield
        except KVStoreError as error:
            self._meter.operation(key, kind, action, self._clock() - since, failed=True)
            if isinstance(error, UnansweredError):
                self._meter.quorum_error("timeout")
            raise
        self._meter.operation(key, kind, action, self._clock() - since, failed=False)


class MeteredEtcd(MeteredBackend):
    """A timed connection to an etcd, which can still say how it is."""

    def __init__(self, backend: EtcdBackend, meter: Meter) -> None:
        super().__init__(backend, meter)
        self.status = backend.status


def connecting(
    meter: Meter, resolve: Resolve = by_dns
) -> Callable[[EtcdConfig], AbstractAsyncContextManager[MeteredEtcd]]:
    """What `kvstore.etcd.connect` does, with every connection timed by one meter."""

    @asynccontextmanager
    async def connect(config: EtcdConfig) -> AsyncIterator[MeteredEtcd]:
        async with etcd.connect(config, resolve=resolve) as backend:
            yield MeteredEtcd(backend, meter)

    return connect


def _counts(event: Event) -> dict[str, int]:
    """How many entries an event is about, by Cilium's words. That a put made a new key is not known here."""
    match event:
        case Listing(pairs) if pairs:
            return {"create": len(pairs)}
        case Changes(_, changes) if changes:
            gone = sum(value is None for _, value in changes)
            counts = {"modify": len(changes) - gone, "delete": gone}
            return {action: count for action, count in counts.items() if count}
        case _:
            return {}
