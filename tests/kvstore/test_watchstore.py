from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from aiokit.backoff import Backoff
from aiokit.wait import eventually
from kvstore.errors import ClusterChangedError
from kvstore.memory import MemoryBackend
from kvstore.watch import Delta
from kvstore.watchstore import DIAL_CAP_SECONDS, follow
from tests import virtual
from tests.kvstore.following import Mirror, mirroring


async def test_keys_are_relative_and_the_list_ends_with_synced() -> None:
    backend = MemoryBackend()
    await backend.put(b"p/1", b"one")
    async with aclosing(follow(backend, b"p/", backoff=Backoff(0, 0))) as deltas:
        assert await anext(deltas) == Delta(upserts=[(b"1", b"one")])
        assert await anext(deltas) == Delta(synced=True)
        await backend.delete(b"p/1")
        assert await anext(deltas) == Delta(removes=[b"1"])


async def test_a_key_deleted_while_disconnected_disappears_after_reconnecting() -> None:
    backend = MemoryBackend()
    await backend.put(b"p/1", b"")
    await backend.put(b"p/2", b"")
    async with mirroring(backend, b"p/") as mirror:
        await eventually(lambda: mirror.synced == 1)
        backend.fail_reads(2)
        backend.break_streams()
        await backend.delete(b"p/1")

        await eventually(lambda: mirror.synced == 2)
        assert mirror.entries == {b"2": b""}


async def test_a_reconnection_repeats_nothing_that_is_known() -> None:
    backend = MemoryBackend()
    for n in range(2500):  # several chunks
        await backend.put(b"p/%d" % n, b"")
    async with mirroring(backend, b"p/") as mirror:
        await eventually(lambda: mirror.synced == 1)
        backend.break_streams()
        await eventually(lambda: mirror.synced == 2)

        assert mirror.applied == 2500


async def test_what_the_consumer_lost_is_told_again_when_it_reads_back() -> None:
    backend = MemoryBackend()
    await backend.put(b"p/1", b"")
    mirror = Mirror({b"1": b"wrong", b"stale": b""})
    async with mirroring(backend, b"p/", mirror, reads_back=True):
        await eventually(lambda: mirror.synced == 1)
        assert mirror.entries == {b"1": b""}
        mirror.entries.clear()
        backend.break_streams()

        await eventually(lambda: mirror.entries == {b"1": b""})


async def test_a_list_alone_is_no_success_so_the_delays_grow_between_breaks() -> None:
    backend, backoff = MemoryBackend(), Backoff(0.001, 0.002)
    async with aclosing(follow(backend, b"p/", backoff=backoff)) as deltas:
        for breaks in range(4):
            assert await anext(deltas) == Delta(synced=True)
            assert backoff.failures == breaks
            backend.break_streams()


async def test_compaction_while_disconnected_is_repaired_by_a_list() -> None:
    backend = MemoryBackend()
    async with mirroring(backend, b"p/") as mirror:
        await eventually(lambda: mirror.synced == 1)
        backend.break_streams()
        await backend.put(b"p/1", b"")
        backend.compact()

        await eventually(lambda: mirror.entries == {b"1": b""})


async def test_a_single_key_is_followed_under_the_empty_key() -> None:
    backend = MemoryBackend()
    await backend.put(b"config/east", b"1")
    await backend.put(b"config/east2", b"2")
    deltas = follow(backend, b"config/east", backoff=Backoff(0, 0), single=True)
    async with aclosing(deltas):
        assert await anext(deltas) == Delta(upserts=[(b"", b"1")])


async def test_another_cluster_is_for_the_caller_to_handle() -> None:
    backend = MemoryBackend()
    async with aclosing(follow(backend, b"p/", backoff=Backoff(0, 0))) as deltas:
        assert (await anext(deltas)).synced
        backend.replace_cluster()
        with pytest.raises(ClusterChangedError):
            async with asyncio.timeout(5):
                await anext(deltas)


def test_after_a_long_outage_the_list_is_there_within_seconds() -> None:
    async def outage() -> float:
        backend = MemoryBackend()
        backend.fail_reads(60)
        synced = asyncio.Event()

        async def read() -> None:
            async with aclosing(follow(backend, b"p/", backoff=Backoff(0.05, 60.0))) as deltas:
                await anext(deltas)
                synced.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(read(), name="read")
            while backend.is_failing:
                await asyncio.sleep(0.01)
            healed = virtual.now()
            await synced.wait()
            return virtual.now() - healed

    assert virtual.run(outage()) < 1.2 * DIAL_CAP_SECONDS


def test_an_outage_does_not_make_the_next_break_cost_more() -> None:
    async def breaks() -> float:
        backend = MemoryBackend()
        async with aclosing(follow(backend, b"p/", backoff=Backoff(0.05, 60.0))) as deltas:
            await anext(deltas)
            backend.fail_reads(60)
            backend.break_streams()
            assert (await anext(deltas)).synced
            broken = virtual.now()
            backend.break_streams()
            assert (await anext(deltas)).synced
            return virtual.now() - broken

    assert virtual.run(breaks()) < 0.2
