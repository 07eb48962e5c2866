"""etcd's own mutex: who holds `<prefix><lease in hex>` with the oldest revision holds the lock.

The protocol of Go's `concurrency.Mutex`, so that programs of others can be locked out and lock us out. The
lock is only as good as the lease: whoever needs to know that it still stands keeps the lease alive and ends
its work when that is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

from aiokit.backoff import Backoff
from kvstore.backend import Backend, ModRevisionIs, PutOp
from kvstore.errors import KVStoreError, LeaseLostError, RefusedError, TransientError
from kvstore.watchstore import follow

LEASE_SECONDS = 25  # Cilium's lock lease
REFRESH_SECONDS = 5.0  # four may fail before the lease is lost
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.1, 5.0

log = logging.getLogger(__name__)


class LockLostError(KVStoreError):
    """The lease of our locks has ended: somebody else may hold them by now."""


@asynccontextmanager
async def lock_lease(backend: Backend) -> AsyncGenerator[int]:
    """A lease for locks, kept alive while the block runs. Raises LockLostError out of the block."""
    lease = await backend.lease_grant(LEASE_SECONDS)
    try:
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(_keep(backend, lease), name="lock lease")
            yield lease
            keeper.cancel()
    finally:
        await _let_go(backend, lease)


@asynccontextmanager
async def locked(backend: Backend, prefix: bytes, lease: int) -> AsyncGenerator[None]:
    """Hold the lock `prefix` (ending in "/") while the block runs; waits as long as others hold it."""
    key = prefix + f"{lease:x}".encode()
    # written once, so its revision is its age
    if not await backend.txn([PutOp(key, b"", lease)], [ModRevisionIs(key, 0)]):
        raise RefusedError(f"{key!r} exists already: this lease holds the lock, or waits for it")
    try:
        if not await _is_oldest(backend, prefix, key):
            await _wait_turn(backend, prefix, key)
        yield
    finally:
        await backend.delete(key)


async def _wait_turn(backend: Backend, prefix: bytes, key: bytes) -> None:
    backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
    async with aclosing(follow(backend, prefix, backoff=backoff)) as deltas:
        async for _ in deltas:
            if await _is_oldest(backend, prefix, key):
                return


async def _is_oldest(backend: Backend, prefix: bytes, key: bytes) -> bool:
    ages = {pair.key: pair.mod_revision for pair in await backend.get_prefix(prefix)}
    if key not in ages:
        raise LockLostError(f"our key {key!r} is gone")
    return ages[key] == min(ages.values())


async def _keep(backend: Backend, lease: int) -> None:
    clock = asyncio.get_running_loop().time
    alive_until = clock() + LEASE_SECONDS
    while True:
        await asyncio.sleep(REFRESH_SECONDS)
        try:
            alive_until = clock() + await backend.lease_keepalive(lease)
        except LeaseLostError as error:
            raise LockLostError(str(error)) from error
        except TransientError as error:
            if clock() > alive_until:  # it has expired there, whether we are told or not
                raise LockLostError(f"the lease could not be refreshed: {error}") from error


async def _let_go(backend: Backend, lease: int) -> None:
    """So that the next one need not wait for the lease's end."""
    try:
        await backend.lease_revoke(lease)
    except KVStoreError as error:
        log.warning("locks are left to their lease error=%s", error)
