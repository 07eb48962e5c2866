"""Which of several replicas that share one etcd writes: the lock `cilium/kvstoremesh-lock` (spec 2.2, 3.8).

The protocol of etcd's own mutex: everybody writes a key of its own under a lease of 25 s, and the oldest
key's owner leads. Replicas that have an etcd each, the usual set-up, all lead at once.
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

LOCK_PREFIX = b"cilium/kvstoremesh-lock/"
LEASE_SECONDS = 25
REFRESH_SECONDS = 5.0  # four may fail before the lease is lost
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.1, 5.0

log = logging.getLogger(__name__)


class LeadershipLostError(KVStoreError):
    """Our lease has ended: another replica may lead by now."""


@asynccontextmanager
async def leading(backend: Backend) -> AsyncGenerator[None]:
    """Wait until we lead; lead while the block runs. Raises KVStoreError, also out of the block."""
    lease = await backend.lease_grant(LEASE_SECONDS)
    try:
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(_keep(backend, lease), name="leader/lease")
            await _wait_turn(backend, LOCK_PREFIX + f"{lease:x}".encode(), lease)
            log.info("this replica writes the copies lease=%x", lease)
            yield
            keeper.cancel()
    finally:
        await _let_go(backend, lease)


async def _wait_turn(backend: Backend, key: bytes, lease: int) -> None:
    """Our key is written once, so its revision is its age."""
    if not await backend.txn([PutOp(key, b"", lease)], [ModRevisionIs(key, 0)]):
        raise RefusedError(f"{key.decode()} exists already")
    backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
    async with aclosing(follow(backend, LOCK_PREFIX, backoff=backoff)) as deltas:
        async for _ in deltas:
            if await _leads(backend, key):
                return


async def _leads(backend: Backend, key: bytes) -> bool:
    ages = {pair.key: pair.mod_revision for pair in await backend.get_prefix(LOCK_PREFIX)}
    if key not in ages:
        raise LeadershipLostError("our key of the lock is gone")
    return ages[key] == min(ages.values())


async def _keep(backend: Backend, lease: int) -> None:
    clock = asyncio.get_running_loop().time
    alive_until = clock() + LEASE_SECONDS
    while True:
        await asyncio.sleep(REFRESH_SECONDS)
        try:
            alive_until = clock() + await backend.lease_keepalive(lease)
        except LeaseLostError as error:
            raise LeadershipLostError(str(error)) from error
        except TransientError as error:
            if clock() > alive_until:  # it has expired there, whether we are told or not
                raise LeadershipLostError(f"the lease could not be refreshed: {error}") from error


async def _let_go(backend: Backend, lease: int) -> None:
    """So that the next one need not wait for the lease's end."""
    try:
        await backend.lease_revoke(lease)
    except KVStoreError as error:
        log.warning("the lock is left to its lease error=%s", error)
