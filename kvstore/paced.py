"""A backend whose requests come at a bounded rate: many writers must not take a shared etcd's time away.

Reads and writes wait for their turn in the order they came. Watches and the refreshing of leases do not:
there are few, and a lease that waits in a queue may end there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

from aiokit.tokenbucket import TokenBucket
from kvstore.backend import Backend, KeyValue, ModRevisionIs, Op
from kvstore.watch import Event


class PacedBackend:
    """Satisfies `kvstore.backend.Backend`. Every request takes a token from `bucket`."""

    def __init__(self, backend: Backend, bucket: TokenBucket) -> None:
        self._backend = backend
        self._bucket = bucket

    @property
    def cluster_id(self) -> int:
        return self._backend.cluster_id

    async def get(self, key: bytes) -> KeyValue | None:
        await self._bucket.take()
        return await self._backend.get(key)

    async def get_prefix(self, prefix: bytes) -> list[KeyValue]:
        await self._bucket.take()
        return await self._backend.get_prefix(prefix)

    def listwatch(
        self, prefix: bytes, *, single: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        return self._backend.listwatch(prefix, single=single)

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> None:
        await self._bucket.take()
        await self._backend.put(key, value, lease=lease)

    async def delete(self, key: bytes) -> bool:
        await self._bucket.take()
        return await self._backend.delete(key)

    async def delete_prefix(self, prefix: bytes) -> int:
        await self._bucket.take()
        return await self._backend.delete_prefix(prefix)

    async def txn(self, ops: Sequence[Op], guards: Sequence[ModRevisionIs] = ()) -> bool:
        await self._bucket.take()
        return await self._backend.txn(ops, guards)

    async def lease_grant(self, ttl_seconds: int) -> int:
        await self._bucket.take()
        return await self._backend.lease_grant(ttl_seconds)

    async def lease_keepalive(self, lease: int) -> int:
        return await self._backend.lease_keepalive(lease)

    async def lease_revoke(self, lease: int) -> None:
        await self._bucket.take()
        await self._backend.lease_revoke(lease)
