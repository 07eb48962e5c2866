"""A backend whose requests wait for a turn: many writers must not take a shared etcd's time away.

What a turn is, a rate or a share, is for the giver to say. Watches and the refreshing of leases do not wait:
there are few, and a lease that waits in a queue may end there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from kvstore.backend import Backend, KeyValue, ModRevisionIs, Op
from kvstore.watch import Event

Turn = Callable[[], AbstractAsyncContextManager[None]]


class PacedBackend:
    """Satisfies `kvstore.backend.Backend`. Every request is made inside of `turn()`."""

    def __init__(self, backend: Backend, turn: Turn) -> None:
        self._backend = backend
        self._turn = turn

    @property
    def cluster_id(self) -> int:
        return self._backend.cluster_id

    async def get(self, key: bytes) -> KeyValue | None:
        async with self._turn():
            return await self._backend.get(key)

    async def get_prefix(self, prefix: bytes) -> list[KeyValue]:
        async with self._turn():
            return await self._backend.get_prefix(prefix)

    def listwatch(
        self, prefix: bytes, *, single: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        return self._backend.listwatch(prefix, single=single)

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> None:
        async with self._turn():
            await self._backend.put(key, value, lease=lease)

    async def delete(self, key: bytes) -> bool:
        async with self._turn():
            return await self._backend.delete(key)

    async def delete_prefix(self, prefix: bytes) -> int:
        async with self._turn():
            return await self._backend.delete_prefix(prefix)

    async def txn(self, ops: Sequence[Op], guards: Sequence[ModRevisionIs] = ()) -> bool:
        async with self._turn():
            return await self._backend.txn(ops, guards)

    async def lease_grant(self, ttl_seconds: int) -> int:
        async with self._turn():
            return await self._backend.lease_grant(ttl_seconds)

    async def lease_keepalive(self, lease: int) -> int:
        return await self._backend.lease_keepalive(lease)

    async def lease_revoke(self, lease: int) -> None:
        async with self._turn():
            await self._backend.lease_revoke(lease)
