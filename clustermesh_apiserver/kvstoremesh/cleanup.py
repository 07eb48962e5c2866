"""Removing the copies of a cluster that is no peer any more (spec 3.8).

The configuration goes first: who comes now does not find the cluster. Agents that read the copies get time to
be told that it is gone, and to let go of it in their own order; only then do the entries vanish.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from aiokit.backoff import Backoff
from kvstore.backend import Backend
from kvstore.errors import TransientError
from kvstore.lease import LeasePool
from mesh.keys import CONFIG_PREFIX, Kind, cache_prefix, classify, cluster_config, synced_prefix

GRACE_SECONDS = 180.0
RETRIES = 5
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 2.0, 60.0

log = logging.getLogger(__name__)


async def cleanup(
    backend: Backend, leases: LeasePool, name: str, *, grace_seconds: float = GRACE_SECONDS
) -> bool:
    """Remove what stands of `name`; whether that was done. Failures are tried again a few times.

    Cancelling it stops it at any point: a cluster that comes back is copied anew over what is left.
    """
    backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
    grace = grace_seconds
    for attempt in range(RETRIES + 1):
        try:
            await backend.delete(cluster_config(name))
            leases.release(cluster_config(name))
            await asyncio.sleep(grace)
            grace = 0.0
            await clear(backend, leases, name)
        except TransientError as error:
            if attempt == RETRIES:
                log.error("copies of a removed cluster are left cluster=%s error=%s", name, error)
                return False
            await asyncio.sleep(backoff.next())
        else:
            break
    log.info("the copies of a removed cluster are gone cluster=%s", name)
    return True


async def clear(backend: Backend, leases: LeasePool, name: str) -> None:
    """Delete canaries, then entries: a reader that still comes must not take the rest for complete."""
    for prefix in (synced_prefix(name), *(cache_prefix(kind, name) for kind in Kind)):
        await backend.delete_prefix(prefix)
        leases.release_below(prefix)


async def strangers(backend: Backend, own: str, known: Iterable[str]) -> set[str]:
    """Clusters of which our etcd has a copy, though nobody configured them: left by an earlier life."""
    found: set[str] = set()
    for prefix in (CONFIG_PREFIX, b"cilium/synced/"):
        for pair in await backend.get_prefix(prefix):
            key = classify(pair.key)
            if key is not None and key.cluster:
                found.add(key.cluster)
    return found - {own, *known}
