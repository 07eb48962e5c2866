"""Our cluster-config key says what we say, whoever else writes or deletes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import pytest

from aiokit.wait import eventually
from clustermesh_apiserver.clusterconfig import ConfigRefusedError, enforce, own_config
from kvstore.errors import RefusedError
from kvstore.lease import LeasePool
from kvstore.memory import MemoryBackend
from mesh.addressing import IdentityLayout
from mesh.servicemode import ServiceMode
from tests import virtual
from tests.clustermesh_apiserver.objects import EAST

KEY = b"cilium/cluster-config/east"
OURS = own_config(EAST)


@asynccontextmanager
async def enforcing(etcd: MemoryBackend, refresh: float = 300.0) -> AsyncIterator[LeasePool]:
    async with LeasePool(etcd).running() as leases, asyncio.TaskGroup() as group:
        task = group.create_task(enforce(etcd, leases, EAST, OURS, refresh=refresh), name="enforce")
        yield leases
        task.cancel()


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (ServiceMode.PREFER_LEGACY, b"services-and-endpointslices"),
        (ServiceMode.PREFER_ENDPOINTSLICE, b"services-and-endpointslices"),
        (ServiceMode.ONLY_ENDPOINTSLICE, b"endpointslices-only"),
    ],
)
def test_it_says_canaries_how_services_are_told_and_no_service_exports(
    mode: ServiceMode, said: bytes
) -> None:
    assert own_config(replace(EAST, layout=IdentityLayout(511)), mode) == (
        b'{"id":3,"capabilities":{"syncedCanaries":true,"maxConnectedClusters":511,'
        b'"serviceExportsEnabled":false,"endpointSlicesExportMode":"%b"}}' % said
    )


def test_it_says_whether_it_exports_what_service_exports_say() -> None:
    assert b'"serviceExportsEnabled":true' in own_config(EAST, mcs_api=True)


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


class Refusing(MemoryBackend):
    """Says no to the first `refusals` writes of the configuration."""

    refusals = 0
    asked: list[float]

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> None:
        self.asked.append(virtual.now())
        if self.refusals:
            self.refusals -= 1
            raise RefusedError("permission denied")
        await super().put(key, value, lease=lease)


def refusing(times: int) -> Refusing:
    etcd = Refusing()
    etcd.refusals, etcd.asked = times, []
    return etcd


def test_a_store_that_refuses_is_asked_three_times_more_with_growing_pauses() -> None:
    async def insist() -> list[float]:
        etcd = refusing(3)
        async with enforcing(etcd):
            await eventually(lambda: etcd.entries.get(KEY) == OURS, timeout=60)
        return etcd.asked

    asked = virtual.run(insist())
    pauses = [later - first for first, later in pairwise(asked)]
    assert [round(pause / wanted) for pause, wanted in zip(pauses, (2, 4, 8), strict=True)] == [1, 1, 1]


def test_a_store_that_refuses_to_the_end_ends_it() -> None:
    async def insist() -> None:
        async with enforcing(refusing(99)):
            await asyncio.sleep(60)

    with pytest.raises(ExceptionGroup) as caught:
        virtual.run(insist())
    assert caught.group_contains(ConfigRefusedError, match="does not take cilium/cluster-config/east")


def test_an_absent_store_is_waited_for() -> None:
    async def insist() -> None:
        etcd = MemoryBackend()
        etcd.fail_writes(200)
        async with enforcing(etcd):
            await eventually(lambda: etcd.entries.get(KEY) == OURS, timeout=3600, interval=1)

    virtual.run(insist())
