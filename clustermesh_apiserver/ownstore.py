"""Working with our own etcd, whatever etcd it turns out to be.

One session is one connection to one etcd cluster, with its own leases. It ends when etcd is replaced by
another cluster, refuses us, or loses keys that we did not delete; the next one compares everything with what
is stored and writes what differs. Leaving deletes nothing: readers keep our state until we are back or the
leases run out (spec 9.3).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, aclosing
from typing import NoReturn

from aiokit.apart import apart
from aiokit.backoff import Backoff
from aiokit.failure import leaves
from kvstore.backend import Backend
from kvstore.errors import KVStoreError
from kvstore.lease import LeasePool
from kvstore.watchstore import follow

FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.2, 10.0

log = logging.getLogger(__name__)

Connect = Callable[[], AbstractAsyncContextManager[Backend]]
Work = Callable[[Backend, LeasePool], Awaitable[None]]


class KeysVanishedError(KVStoreError):
    """Somebody else deleted our keys: what is stored must be compared with what is wanted."""


async def sessions(
    connect: Connect, work: Work, *, lease_ttl_seconds: int, backoff: Backoff, name: str
) -> NoReturn:
    """Do `work` in one session after the other until cancelled. Errors of the store are retried; bugs
    propagate. `work` resets the back-off once it has got somewhere."""
    number = 0

    async def session() -> None:
        async with connect() as backend, LeasePool(backend, lease_ttl_seconds).running() as leases:
            await work(backend, leases)

    while True:
        number += 1
        try:
            await apart(session(), f"{name}/session-{number}")
        except* KVStoreError as group:
            log.warning("the store is compared anew by=%s reason=%s", name, _reasons(group))
        await asyncio.sleep(backoff.next())


async def guard(
    backend: Backend, prefix: bytes, ours: Callable[[], Collection[bytes]], standing: asyncio.Event
) -> None:
    """Watch over keys of ours below `prefix`. One that vanishes tells of a store that was emptied behind
    us: KeysVanishedError. What was written before `standing` is set may vanish unseen."""
    retries = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
    async with aclosing(follow(backend, prefix, backoff=retries)) as deltas:
        async for delta in deltas:
            if delta.synced:
                standing.set()
            for key in set(ours()).intersection(prefix + suffix for suffix in delta.removes):
                raise KeysVanishedError(f"{key.decode()} was deleted by somebody else")


def _reasons(group: BaseExceptionGroup[KVStoreError]) -> str:
    """The leaves of a group, each once."""
    return "; ".join(dict.fromkeys(str(error) for error in leaves(group)))
