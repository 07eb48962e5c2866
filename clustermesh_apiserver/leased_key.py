"""Writing one key under our lease, until it stands: for heartbeat and cluster-config.

Promises: returns once the key is written; a lost lease or a failed connection is a reason to try
again, with back-off. Another etcd cluster and a refusal are not: they propagate.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from aiokit.backoff import Backoff
from kvstore.backend import Writable
from kvstore.errors import LeaseLostError, TransientError

FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.1, 5.0

log = logging.getLogger(__name__)


class Leases(Protocol):
    """What is asked of a `kvstore.lease.LeasePool`."""

    async def lease_for(self, key: bytes) -> int: ...
    async def check(self, leases: Iterable[int]) -> None: ...


def nobody(_: str) -> None:
    """Where nobody wants to know."""


async def write(
    backend: Writable, leases: Leases, key: bytes, value: bytes, *, told: Callable[[str], None] = nobody
) -> None:
    """`told` gets the error of each attempt that failed, and "" once the key is written."""
    backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
    while True:
        try:
            await _write_once(backend, leases, key, value)
            told("")
            return
        except (TransientError, LeaseLostError) as error:
            told(str(error))
            log.warning("key not written, trying again key=%s error=%s", key.decode(), error)
        await asyncio.sleep(backoff.next())


async def _write_once(backend: Writable, leases: Leases, key: bytes, value: bytes) -> None:
    lease = await leases.lease_for(key)
    try:
        await backend.put(key, value, lease=lease)
    except LeaseLostError:
        await leases.check([lease])  # so that the pool drops it and gives another next time
        raise
