from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from aiokit.backoff import Backoff
from aiokit.histogram import Histogram
from aiokit.wait import eventually
from kvstore.backend import Backend
from kvstore.config import EtcdConfig
from kvstore.digest import Digest
from kvstore.errors import ClusterChangedError, RefusedError, TransientError
from kvstore.etcd import connect
from kvstore.lease import LeasePool
from kvstore.memory import MemoryBackend
from kvstore.syncstore import SyncStore
from tests.conftest import RunningEtcd
from tests.kvstore.conftest import Clients

PREFIX, SYNCED = b"state/", b"synced/state"


@asynccontextmanager
async def syncing(
    backend: Backend, leases: LeasePool | None = None, *, resync_seconds: float = 300.0
) -> AsyncIterator[SyncStore]:
    leases = leases or LeasePool(backend, 60)
    store = SyncStore(
        backend,
        PREFIX,
        leases,
        synced_key=SYNCED,
        backoff=Backoff(0.01, 0.1),
        resync_seconds=resync_seconds,
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(store.run(), name="sync")
        try:
            yield store
        finally:
            task.cancel()


async def stored(backend: Backend) -> dict[bytes, bytes]:
    return {pair.key[len(PREFIX) :]: pair.value for pair in await backend.get_prefix(PREFIX)}


async def wait_holds(backend: Backend, entries: dict[bytes, bytes]) -> None:
    async def condition() -> bool:
        return await stored(backend) == entries and await backend.get(SYNCED) is not None

    await eventually(condition)


async def test_entries_are_stored_leased_and_then_announced(clients: Clients) -> None:
    async with syncing(clients.backend) as store:
        for n in range(250):
            store.upsert(b"%d" % n, b"v")
        store.mark_listed()
        async with asyncio.timeout(10):
            await store.synced.wait()

        pairs = await clients.other.get_prefix(PREFIX)
        announced = await clients.other.get(SYNCED)
        assert len(pairs) == 250 and all(pair.lease for pair in pairs)
        assert announced is not None and announced.lease
        assert re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", announced.value)
        assert announced.mod_revision > max(pair.mod_revision for pair in pairs)
        assert (store.status().queued, store.status().stored, store.status().synced) == (0, 250, True)


async def test_leftovers_of_an_earlier_run_go_only_after_the_first_listing(clients: Clients) -> None:
    await clients.other.put(b"state/old", b"")
    await clients.other.put(b"stately", b"not ours")
    async with syncing(clients.backend) as store:
        store.upsert(b"new", b"1")
        await eventually(lambda: store.status().stored == 2 and store.status().queued == 0)
        assert await stored(clients.other) == {b"old": b"", b"new": b"1"}
        assert await clients.other.get(SYNCED) is None
        store.mark_listed()

        await wait_holds(clients.other, {b"new": b"1"})
        assert await clients.other.get(b"stately") is not None


async def test_updates_and_removals_follow(clients: Clients) -> None:
    async with syncing(clients.backend) as store:
        store.mark_listed()
        store.upsert(b"a", b"1")
        store.upsert(b"b", b"1")
        await wait_holds(clients.other, {b"a": b"1", b"b": b"1"})
        store.upsert(b"a", b"2")
        store.remove(b"b")

        await wait_holds(clients.other, {b"a": b"2"})


async def test_all_keys_of_an_ended_lease_are_written_again_and_the_synced_key_last(clients: Clients) -> None:
    leases = LeasePool(clients.backend, 60, keys_per_lease=100)
    async with syncing(clients.backend, leases) as store:
        for n in range(150):
            store.upsert(b"%d" % n, b"v")
        store.mark_listed()
        await wait_holds(clients.other, {b"%d" % n: b"v" for n in range(150)})
        for lease in {pair.lease for pair in await clients.other.get_prefix(b"")}:
            await clients.other.lease_revoke(lease)
        assert await stored(clients.other) == {}
        await leases.check()  # what the keepalive task does every few minutes

        await wait_holds(clients.other, {b"%d" % n: b"v" for n in range(150)})
        announced = await clients.other.get(SYNCED)
        pairs = await clients.other.get_prefix(PREFIX)
        assert announced is not None
        assert announced.mod_revision > max(pair.mod_revision for pair in pairs)


async def test_a_write_that_meets_an_ended_lease_repairs_its_other_keys_too(clients: Clients) -> None:
    async with syncing(clients.backend) as store:
        store.upsert(b"a", b"1")
        store.mark_listed()
        await wait_holds(clients.other, {b"a": b"1"})
        pair = await clients.other.get(b"state/a")
        assert pair is not None
        await clients.other.lease_revoke(pair.lease)
        store.upsert(b"b", b"1")

        await wait_holds(clients.other, {b"a": b"1", b"b": b"1"})


async def test_foreign_changes_of_our_keys_are_repaired(clients: Clients) -> None:
    async with syncing(clients.backend, resync_seconds=0.05) as store:
        for key in (b"deleted", b"overwritten", b"unleased"):
            store.upsert(key, b"v")
        store.mark_listed()
        wanted = {b"deleted": b"v", b"overwritten": b"v", b"unleased": b"v"}
        await wait_holds(clients.other, wanted)
        await clients.other.delete(b"state/deleted")
        await clients.other.put(b"state/overwritten", b"x")
        await clients.other.put(b"state/unleased", b"v")
        await clients.other.put(b"state/foreign", b"v")
        await clients.other.delete(SYNCED)

        await wait_holds(clients.other, wanted)

        async def is_leased() -> bool:
            pair = await clients.other.get(b"state/unleased")
            return pair is not None and pair.lease != 0

        await eventually(is_leased)


async def test_failed_writes_and_reads_are_made_again() -> None:
    backend = MemoryBackend()
    backend.fail_reads(2)
    backend.fail_writes(5)
    async with syncing(backend) as store:
        store.upsert(b"a", b"1")
        store.mark_listed()
        await eventually(lambda: not backend.is_failing)

        await wait_holds(backend, {b"a": b"1"})
        assert store.status().errors > 0
        await eventually(lambda: store.status().last_error == "")


async def test_nothing_is_written_twice() -> None:
    backend = MemoryBackend()
    async with syncing(backend, resync_seconds=0.01) as store:
        for _ in range(3):
            store.upsert(b"a", b"1")
        store.mark_listed()
        await wait_holds(backend, {b"a": b"1"})
        writes = backend.writes
        store.upsert(b"a", b"1")
        store.upsert(b"a", b"2")
        store.upsert(b"a", b"1")
        await eventually(lambda: store.status().queued == 0)

        assert (writes, backend.writes) == (2, 2)  # the entry and the synced key


@pytest.mark.parametrize("size", [1_600_000, 3_000_000])  # over etcd's limit; over gRPC's as well
async def test_an_entry_that_the_store_refuses_does_not_hold_back_the_others(
    etcd: RunningEtcd, size: int
) -> None:
    async with connect(EtcdConfig((etcd.endpoint,))) as backend, syncing(backend) as store:
        store.upsert(b"too large", bytes(size))
        store.upsert(b"b", b"1")
        store.upsert(b"c", b"1")
        store.mark_listed()
        await eventually(lambda: store.status().stored == 2 and store.status().last_error != "")

        assert await stored(backend) == {b"b": b"1", b"c": b"1"}
        assert store.status().queued == 1
        assert "too large" in store.status().last_error
        assert await backend.get(SYNCED) is None
        store.upsert(b"too large", b"smaller now")
        await wait_holds(backend, {b"b": b"1", b"c": b"1", b"too large": b"smaller now"})


async def test_a_full_etcd_is_told_and_written_to_once_there_is_space(etcd: RunningEtcd) -> None:
    async with connect(EtcdConfig((etcd.endpoint,))) as backend, syncing(backend) as store:
        store.upsert(b"a", b"1")
        store.mark_listed()
        await wait_holds(backend, {b"a": b"1"})
        await no_space(etcd, "ACTIVATE")
        store.upsert(b"a", b"2")
        store.upsert(b"b", b"1")
        await eventually(lambda: "database space exceeded" in store.status().last_error)
        assert await stored(backend) == {b"a": b"1"}

        await no_space(etcd, "DEACTIVATE")
        await wait_holds(backend, {b"a": b"2", b"b": b"1"})
        await eventually(lambda: store.status().last_error == "")


async def no_space(etcd: RunningEtcd, action: str) -> None:
    """Raise or end the alarm that etcd raises at its quota and on a full disk."""
    alarm = {"action": action, "alarm": "NOSPACE", "memberID": "1"}
    url = f"http://{etcd.endpoint}/v3/maintenance/alarm"
    async with aiohttp.ClientSession() as session, session.post(url, json=alarm) as answer:
        assert answer.status == 200, await answer.text()


async def test_another_cluster_ends_the_run() -> None:
    backend = MemoryBackend()
    with pytest.raises(ExceptionGroup) as caught:
        async with syncing(backend) as store:
            store.upsert(b"a", b"1")
            store.mark_listed()
            await wait_holds(backend, {b"a": b"1"})
            backend.replace_cluster()
            store.upsert(b"a", b"2")
            async with asyncio.timeout(10):
                await asyncio.Event().wait()
    assert caught.group_contains(ClusterChangedError)
    assert not caught.group_contains(RefusedError)


async def test_a_killed_etcd_is_written_to_again_after_its_restart(etcd: RunningEtcd) -> None:
    async with connect(EtcdConfig((etcd.endpoint,))) as backend, syncing(backend) as store:
        store.upsert(b"a", b"1")
        store.mark_listed()
        await wait_holds(backend, {b"a": b"1"})
        etcd.stop()
        store.upsert(b"b", b"1")
        await eventually(lambda: store.status().errors > 0)
        etcd.restart()

        async with connect(EtcdConfig((etcd.endpoint,))) as other:
            await wait_holds(other, {b"a": b"1", b"b": b"1"})


async def test_a_lease_that_expires_by_itself_is_noticed_by_the_keepalive(etcd: RunningEtcd) -> None:
    async with connect(EtcdConfig((etcd.endpoint,))) as backend:
        leases = LeasePool(backend, 1, refresh_seconds=0.05)
        async with syncing(backend, leases) as store:
            store.upsert(b"a", b"1")
            store.mark_listed()
            await wait_holds(backend, {b"a": b"1"})

            async def is_gone() -> bool:
                return await stored(backend) == {}

            await eventually(is_gone)
            async with leases.running():
                await wait_holds(backend, {b"a": b"1"})
                assert leases.status().lost == 1


async def test_the_digest_is_of_what_is_stored_once_that_is_steady(clients: Clients) -> None:
    await clients.other.put(b"state/old", b"0")
    async with syncing(clients.backend) as store:
        store.upsert(b"a", b"1")
        store.upsert(b"b", b"1")
        store.mark_listed()
        await wait_holds(clients.other, {b"a": b"1", b"b": b"1"})
        store.upsert(b"b", b"2")
        expected = Digest()
        for key, value in ((b"a", b"1"), (b"b", b"2")):
            expected.toggle(key, value)
        await eventually(lambda: store.status().digest == str(expected))


async def test_a_change_is_timed_from_when_it_was_asked_for_until_it_is_stored() -> None:
    backend, propagation, time = MemoryBackend(), Histogram((1.0, 5.0)), iter([100.0, 103.0])
    leases = LeasePool(backend, 60)
    store = SyncStore(
        backend, PREFIX, leases, synced_key=SYNCED, propagation=propagation, clock=lambda: next(time)
    )
    store.upsert(b"a", b"1")
    store.mark_listed()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(store.run(), name="sync")
        await store.synced.wait()
        task.cancel()
    assert propagation.buckets() == [("1", 0), ("5", 1), ("+Inf", 1)]
    assert propagation.total == 3.0


class FullBackend(MemoryBackend):
    """As an etcd without space: it reads and refreshes leases, and takes nothing."""

    def __init__(self, like: MemoryBackend) -> None:
        vars(self).update(vars(like.another_client()))
        self.is_full = True
        self.refreshed: set[int] = set()

    async def lease_grant(self, ttl_seconds: int) -> int:
        self._check_space()
        return await super().lease_grant(ttl_seconds)

    async def lease_keepalive(self, lease: int) -> int:
        self.refreshed.add(lease)
        return await super().lease_keepalive(lease)

    def _check_space(self) -> None:
        if self.is_full:
            raise TransientError("database space exceeded")


async def test_what_a_full_store_does_not_take_anew_lives_on_under_the_earlier_lives_leases() -> None:
    first = MemoryBackend()
    async with syncing(first) as store:
        store.upsert(b"a", b"1")
        store.mark_listed()
        await wait_holds(first, {b"a": b"1"})
    pair = await first.get(SYNCED)
    assert pair is not None
    full = FullBackend(first)
    leases = LeasePool(full, 60)
    async with syncing(full, leases) as store:
        store.upsert(b"a", b"1")
        store.mark_listed()
        await eventually(lambda: store.status().errors > 1)
        full.refreshed.clear()
        await leases.check()
        assert full.refreshed == {pair.lease}
        full.is_full = False
        await eventually(lambda: store.status().synced)
        moved = await first.get(PREFIX + b"a")
        assert moved is not None and moved.lease != pair.lease
        full.refreshed.clear()
        await eventually(lambda: not store.status().queued)
        await leases.check()
        assert full.refreshed == {moved.lease}
