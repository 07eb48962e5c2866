"""`cilium/.heartbeat`: the sign that our etcd still takes writes (spec 3.5).

Peers that see no event on it for 120 s take us for dead and reconnect, so it is written at once and
then every 60 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from clustermesh_apiserver.leased_key import Leases, nobody, write
from kvstore.backend import Writable
from mesh.keys import HEARTBEAT

INTERVAL_SECONDS = 60.0


async def beat(
    backend: Writable,
    leases: Leases,
    *,
    interval: float = INTERVAL_SECONDS,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    told: Callable[[str], None] = nobody,
) -> None:
    """Beat until cancelled. `told`: why the etcd does not take the beat, "" while it does."""
    while True:
        await write(backend, leases, HEARTBEAT, rfc3339(now()), told=told)
        await asyncio.sleep(interval)


def rfc3339(moment: datetime) -> bytes:
    """As Go prints it: whole seconds, `Z` for UTC (spec 2.3)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
