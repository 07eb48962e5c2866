"""Our cluster-config key says what we say, whoever else writes or deletes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from aiokit.wait import eventually
from clustermesh_apiserver.clusterconfig import enforce, own_config
from kvstore.lease import LeasePool
from kvstore.memory import MemoryBackend
from mesh.addressing import IdentityLayout
from tests.clustermesh_apiserver.objects import EAST

KEY = b"cilium/cluster-config/east"
OURS = own_config(EAST)


@asynccontextmanager
async def enforcing(etcd: MemoryBackend, refresh: float = 300.0) -> AsyncIterator[LeasePool]:
    async with LeasePool(etcd).running() as leases, asyncio.TaskGroup() as group:
        task = group.create_task(enforce(etcd, leases, EAST, refresh=refresh), name="enforce")
        yield leases
        task.cancel()


def test_it_says_canaries_services_only_and_no_service_exports() -> None:
    assert own_config(replace(EAST, layout=IdentityLayout(511))) == (
        b'{"id":3,"capabilities":'
        b'{"syncedCanaries":true,"maxConnectedClusters":511,"serviceExportsEnabled":false}}'
    )


async def test_foreign_bytes_are_replaced_even_when_they_mean_the_same() -> None:
    etcd = MemoryBackend()
    async with enforcing(etcd):
        await eventually(lambda: etcd.entries.get(KEY) == OURS)
        for foreign in (OURS + b" ", b'{"id":9}', b"{"):
            await etcd.another_client().put(KEY, foreign)
            assert etcd.entries[KEY] == foreign
            await eventually(lambda: etcd.entries.get(KEY) == OURS)


async def test_a_deleted_key_comes_back() -> None:
    etcd = MemoryBackend()
    async with enforcing(etcd):
        await eventually(lambda: etcd.entries.get(KEY) == OURS)
        await etcd.another_client().delete(KEY)
        assert KEY not in etcd.entries
        await eventually(lambda: etcd.entries.get(KEY) == OURS)


async def test_a_key_that_is_there_already_gets_our_lease() -> None:
    etcd = MemoryBackend()
    await etcd.another_client().put(KEY, OURS)
    async with enforcing(etcd) as leases:
        await eventually(lambda: leases.bound_to(KEY) != 0)
        await eventually(lambda: _has_lease(etcd, leases.bound_to(KEY)))


async def _has_lease(etcd: MemoryBackend, lease: int) -> bool:
    pair = await etcd.get(KEY)
    return pair is not None and pair.lease == lease


async def test_a_lost_lease_is_replaced() -> None:
    etcd = MemoryBackend()
    async with enforcing(etcd) as leases:
        await eventually(lambda: etcd.entries.get(KEY) == OURS)
        first = leases.bound_to(KEY)
        etcd.expire(first)
        assert KEY not in etcd.entries
        await eventually(lambda: etcd.entries.get(KEY) == OURS)
        assert leases.bound_to(KEY) not in (0, first)


async def test_the_key_is_refreshed_and_broken_streams_are_followed_again() -> None:
    etcd = MemoryBackend()
    async with enforcing(etcd, refresh=0.01):
        await eventually(lambda: etcd.writes > 2)
        etcd.break_streams()
        await etcd.another_client().delete(KEY)
        await eventually(lambda: etcd.entries.get(KEY) == OURS)
