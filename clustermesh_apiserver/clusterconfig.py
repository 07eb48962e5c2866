"""`cilium/cluster-config/<name>`: what we say of ourselves, and that nobody else says it (spec 2.4).

Promises: the watch stands before the first write, so no foreign change goes unseen; any other bytes,
or none, under our key are replaced by ours; the key is written anew every 5 minutes.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from aiokit.backoff import Backoff
from clustermesh_apiserver.leased_key import Leases, write
from kvstore.backend import Backend
from kvstore.watchstore import follow
from mesh.addressing import PeerScope
from mesh.clusterconfig import ClusterConfig, encode
from mesh.keys import cluster_config

REFRESH_SECONDS = 300.0
PAUSE_SECONDS = 0.05  # after a foreign change: two writers that both insist must not burn the store
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.1, 10.0

log = logging.getLogger(__name__)


def own_config(scope: PeerScope) -> bytes:
    """What this version does: canaries yes, services only, no MCS-API."""
    config = ClusterConfig(
        id=scope.cluster_id,
        synced_canaries=True,
        cached=False,
        max_connected_clusters=scope.layout.max_connected_clusters,
        service_exports_enabled=False,
        endpoint_slices_export_mode="",
    )
    return encode(config)


async def enforce(
    backend: Backend, leases: Leases, scope: PeerScope, *, refresh: float = REFRESH_SECONDS
) -> None:
    """Keep our key as it should be until cancelled."""
    key, wanted = cluster_config(scope.name), own_config(scope)
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
                    await write(backend, leases, key, wanted)
                    await asyncio.sleep(PAUSE_SECONDS)

    async def rewrite() -> None:
        await watching.wait()
        while True:
            await write(backend, leases, key, wanted)
            await asyncio.sleep(refresh)

    async with asyncio.TaskGroup() as group:
        group.create_task(keep(), name="clusterconfig/keep")
        group.create_task(rewrite(), name="clusterconfig/rewrite")
