"""`cilium/cluster-config/<name>`: what we say of ourselves, and that nobody else says it (spec 2.4).

Promises: the watch stands before the first write, so no foreign change goes unseen; any other bytes,
or none, under our key are replaced by ours; the key is written anew every 5 minutes. A store that refuses
it to the end is an error that nobody here survives.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from aiokit.backoff import Backoff
from clustermesh_apiserver.leased_key import Leases, write
from kvstore.backend import Backend
from kvstore.errors import RefusedError
from kvstore.watchstore import follow
from mesh.addressing import PeerScope
from mesh.clusterconfig import ClusterConfig, encode
from mesh.keys import cluster_config
from mesh.servicemode import ServiceMode

REFRESH_SECONDS = 300.0
PAUSE_SECONDS = 0.05  # after a foreign change: two writers that both insist must not burn the store
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.1, 10.0

REFUSED_RETRIES = 3
FIRST_REFUSED_SECONDS, LONGEST_REFUSED_SECONDS = 2.0, 30.0

log = logging.getLogger(__name__)


class ConfigRefusedError(Exception):
    """The store does not take our configuration: without it no peer reads anything, so the process ends."""


def own_config(
    scope: PeerScope, mode: ServiceMode = ServiceMode.PREFER_LEGACY, *, mcs_api: bool = False
) -> bytes:
    """What this version does: canaries yes, services and slices as `mode` says, exports as `mcs_api` says."""
    config = ClusterConfig(
        id=scope.cluster_id,
        synced_canaries=True,
        cached=False,
        max_connected_clusters=scope.layout.max_connected_clusters,
        service_exports_enabled=mcs_api,
        endpoint_slices_export_mode=mode.capability,
    )
    return encode(config)


async def enforce(
    backend: Backend, leases: Leases, scope: PeerScope, wanted: bytes, *, refresh: float = REFRESH_SECONDS
) -> None:
    """Keep our key as it should be until cancelled. Raises ConfigRefusedError."""
    key = cluster_config(scope.name)
    watching = asyncio.Event()

    async def keep() -> None:
        backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        async with aclosing(follow(backend, key, backoff=backoff, single=True)) as deltas:
            async for delta in deltas:
                if not watching.is_set():
                    if delta.synced:
                        watching.set()  # the first write is the refresher's: it takes our lease, too
                elif delta.removes or any(value != wanted for _, value in delta.upserts):
                    log.warning("cluster-config was changed by somebody else key=%s", key.decode())
                    await _insist(backend, leases, key, wanted)
                    await asyncio.sleep(PAUSE_SECONDS)

    async def rewrite() -> None:
        await watching.wait()
        while True:
            await _insist(backend, leases, key, wanted)
            await asyncio.sleep(refresh)

    async with asyncio.TaskGroup() as group:
        group.create_task(keep(), name="clusterconfig/keep")
        group.create_task(rewrite(), name="clusterconfig/rewrite")


async def _insist(backend: Backend, leases: Leases, key: bytes, wanted: bytes) -> None:
    """An absent store is waited for, which is no failure; one that says no is asked three times more."""
    backoff = Backoff(FIRST_REFUSED_SECONDS, LONGEST_REFUSED_SECONDS)
    for _ in range(REFUSED_RETRIES):
        try:
            return await write(backend, leases, key, wanted)
        except RefusedError as error:
            delay = backoff.next()
            log.warning("cluster-config refused, again in %.1f s key=%s error=%s", delay, key.decode(), error)
            await asyncio.sleep(delay)
    try:
        await write(backend, leases, key, wanted)
    except RefusedError as error:
        raise ConfigRefusedError(f"etcd does not take {key.decode()}: {error}") from error
