"""The heartbeat is written at once, again and again, under a lease, whatever fails in between."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

from aiokit.wait import eventually
from clustermesh_apiserver.heartbeat import beat, rfc3339
from kvstore.lease import LeasePool
from kvstore.memory import MemoryBackend

KEY = b"cilium/.heartbeat"


async def test_every_beat_is_an_event_with_a_lease() -> None:
    etcd = MemoryBackend()
    seconds = iter(range(1000))

    def now() -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC) + timedelta(seconds=next(seconds))

    async with LeasePool(etcd).running() as leases, asyncio.TaskGroup() as group:
        task = group.create_task(beat(etcd, leases, interval=0.01, now=now), name="beat")
        await eventually(lambda: etcd.entries.get(KEY, b"") >= b"2026-11-23T00:00:03Z")
        pair = await etcd.get(KEY)
        assert pair is not None and pair.lease == leases.bound_to(KEY) != 0
        task.cancel()


async def test_a_lost_lease_and_a_failed_write_do_not_stop_the_heart() -> None:
    etcd = MemoryBackend()
    async with LeasePool(etcd).running() as leases, asyncio.TaskGroup() as group:
        task = group.create_task(beat(etcd, leases, interval=0.01), name="beat")
        await eventually(lambda: KEY in etcd.entries)
        first = leases.bound_to(KEY)
        etcd.fail_writes(1)
        etcd.expire(first)
        await eventually(lambda: KEY in etcd.entries and leases.bound_to(KEY) != first)
        task.cancel()


async def test_why_a_beat_is_not_taken_is_told_until_one_is() -> None:
    etcd = MemoryBackend()
    told: list[str] = []
    async with LeasePool(etcd).running() as leases, asyncio.TaskGroup() as group:
        await leases.lease_for(KEY)
        etcd.fail_writes(1)
        task = group.create_task(beat(etcd, leases, told=told.append), name="beat")
        await eventually(lambda: KEY in etcd.entries)
        task.cancel()
    assert len(told) == 2
    assert told[0] and not told[1]


def test_times_are_written_as_go_writes_them() -> None:
    moment = datetime(2026, 11, 23, 9, 15, 2, 999, timezone(timedelta(hours=1)))
    assert rfc3339(moment) == b"2026-11-23T08:15:02Z"
