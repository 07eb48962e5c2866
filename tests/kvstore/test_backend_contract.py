"""What every backend promises, tried on a real etcd and on the twin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from kvstore.backend import Backend, DeleteOp, ModRevisionIs, PutOp
from kvstore.errors import LeaseLostError, RefusedError
from kvstore.watch import Change, Changes, Event, Listed, Listing, Pair
from tests.kvstore.conftest import Clients


async def listed(events: AsyncIterator[Event]) -> tuple[list[Pair], int]:
    pairs: list[Pair] = []
    async for event in events:
        if isinstance(event, Listed):
            return pairs, event.revision
        assert isinstance(event, Listing)
        pairs += event.pairs
    raise AssertionError("the stream ended before its list was complete")


async def changed(events: AsyncIterator[Event], count: int) -> list[Change]:
    """The next `count` changes."""
    found: list[Change] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            event = await anext(events)
            assert isinstance(event, Changes)
            found += event.changes
    return found


async def test_what_was_put_is_read_with_its_revision(backend: Backend) -> None:
    await backend.put(b"a", b"1")
    first = await backend.get(b"a")
    await backend.put(b"a", b"2")
    second = await backend.get(b"a")

    assert first is not None and second is not None
    assert (first.value, second.value, second.lease) == (b"1", b"2", 0)
    assert second.mod_revision == first.mod_revision + 1
    assert backend.cluster_id != 0


async def test_an_absent_key_reads_as_none_and_deletes_as_false(backend: Backend) -> None:
    assert await backend.get(b"absent") is None
    assert await backend.delete(b"absent") is False


async def test_a_prefix_reads_in_order_and_without_its_neighbours(backend: Backend) -> None:
    for key in (b"east/2", b"east/1", b"east2/1", b"east", b"east0"):
        await backend.put(key, key)

    assert [pair.key for pair in await backend.get_prefix(b"east/")] == [b"east/1", b"east/2"]
    assert len(await backend.get_prefix(b"")) == 5


async def test_a_prefix_that_ends_in_the_greatest_byte_is_bounded_too(backend: Backend) -> None:
    for key in (b"a\xff", b"a\xff\xffz", b"b", b"\xff\xff"):
        await backend.put(key, b"")

    assert [pair.key for pair in await backend.get_prefix(b"a\xff")] == [b"a\xff", b"a\xff\xffz"]
    assert [pair.key for pair in await backend.get_prefix(b"\xff")] == [b"\xff\xff"]


async def test_deleting_a_prefix_counts_and_spares_the_others(backend: Backend) -> None:
    for key in (b"p/1", b"p/2", b"q/1"):
        await backend.put(key, b"")

    assert await backend.delete_prefix(b"p/") == 2
    assert await backend.delete_prefix(b"p/") == 0
    assert await backend.get(b"q/1") is not None


async def test_a_transaction_applies_all_operations_at_one_revision(backend: Backend) -> None:
    await backend.put(b"old", b"")
    assert await backend.txn([PutOp(b"a", b"1"), PutOp(b"b", b"2"), DeleteOp(b"old")])

    pairs = await backend.get_prefix(b"")
    assert [(pair.key, pair.value) for pair in pairs] == [(b"a", b"1"), (b"b", b"2")]
    assert pairs[0].mod_revision == pairs[1].mod_revision


async def test_a_guard_that_does_not_hold_changes_nothing(backend: Backend) -> None:
    await backend.put(b"a", b"1")
    pair = await backend.get(b"a")
    assert pair is not None

    assert not await backend.txn([PutOp(b"a", b"x")], [ModRevisionIs(b"a", 0)])
    assert not await backend.txn([PutOp(b"a", b"x")], [ModRevisionIs(b"a", pair.mod_revision + 1)])
    assert await backend.txn([PutOp(b"b", b"new")], [ModRevisionIs(b"b", 0)])
    assert await backend.txn([PutOp(b"a", b"2")], [ModRevisionIs(b"a", pair.mod_revision)])
    assert [kv.value for kv in await backend.get_prefix(b"")] == [b"2", b"new"]


async def test_a_transaction_that_writes_a_key_twice_is_refused(backend: Backend) -> None:
    with pytest.raises(RefusedError):
        await backend.txn([PutOp(b"a", b"1"), PutOp(b"a", b"2")])
    assert await backend.get(b"a") is None


async def test_a_transaction_over_the_limit_is_a_bug_of_the_caller(backend: Backend) -> None:
    with pytest.raises(ValueError, match="129 operations"):
        await backend.txn([PutOp(b"%d" % n, b"") for n in range(129)])


async def test_revoking_a_lease_deletes_its_keys_only(backend: Backend) -> None:
    lease = await backend.lease_grant(60)
    await backend.put(b"leased", b"", lease=lease)
    await backend.put(b"freed", b"", lease=lease)
    await backend.put(b"freed", b"")
    pair = await backend.get(b"leased")

    assert pair is not None and pair.lease == lease
    assert 0 < await backend.lease_keepalive(lease) <= 60
    await backend.lease_revoke(lease)
    assert [kv.key for kv in await backend.get_prefix(b"")] == [b"freed"]
    await backend.lease_revoke(lease)  # no error


async def test_a_lost_lease_can_neither_be_kept_nor_used(backend: Backend) -> None:
    lease = await backend.lease_grant(60)
    await backend.lease_revoke(lease)

    with pytest.raises(LeaseLostError):
        await backend.lease_keepalive(lease)
    with pytest.raises(LeaseLostError):
        await backend.put(b"a", b"", lease=lease)
    with pytest.raises(LeaseLostError):
        await backend.txn([PutOp(b"a", b"", lease)])


async def test_a_listwatch_lists_then_tells_what_changed_since(clients: Clients) -> None:
    await clients.other.put(b"p/1", b"one")
    await clients.other.put(b"q/1", b"elsewhere")
    async with clients.backend.listwatch(b"p/") as events:
        pairs, revision = await listed(events)
        assert pairs == [(b"p/1", b"one")]
        await clients.other.put(b"p/2", b"two")
        await clients.other.put(b"q/2", b"elsewhere")
        await clients.other.delete(b"p/1")

        assert await changed(events, 2) == [(b"p/2", b"two"), (b"p/1", None)]
        assert revision > 0


async def test_a_change_between_list_and_watch_is_not_lost(clients: Clients) -> None:
    async with clients.backend.listwatch(b"p/") as events:
        pairs, _ = await listed(events)  # the watch is not open yet: it opens with the next step
        await clients.other.put(b"p/1", b"")

        assert (pairs, await changed(events, 1)) == ([], [(b"p/1", b"")])


async def test_the_changes_of_one_transaction_arrive_together(clients: Clients) -> None:
    async with clients.backend.listwatch(b"p/") as events:
        await listed(events)
        await clients.other.txn([PutOp(b"p/1", b""), PutOp(b"p/2", b"")])
        async with asyncio.timeout(10):
            event = await anext(events)

        assert isinstance(event, Changes)
        assert sorted(key for key, _ in event.changes) == [b"p/1", b"p/2"]


async def test_a_lease_that_ends_is_seen_as_deletions(clients: Clients) -> None:
    lease = await clients.other.lease_grant(60)
    await clients.other.put(b"p/1", b"", lease=lease)
    async with clients.backend.listwatch(b"p/") as events:
        await listed(events)
        await clients.other.lease_revoke(lease)

        assert await changed(events, 1) == [(b"p/1", None)]


async def test_a_single_key_is_watched_without_its_extensions(clients: Clients) -> None:
    await clients.other.put(b"config/east", b"1")
    await clients.other.put(b"config/east2", b"1")
    async with clients.backend.listwatch(b"config/east", single=True) as events:
        pairs, _ = await listed(events)
        await clients.other.put(b"config/east2", b"2")
        await clients.other.put(b"config/east", b"2")

        assert pairs == [(b"config/east", b"1")]
        assert await changed(events, 1) == [(b"config/east", b"2")]


async def test_a_watch_that_is_up_to_date_survives_compaction(clients: Clients) -> None:
    async with clients.backend.listwatch(b"p/") as events:
        await listed(events)
        await clients.other.put(b"p/1", b"")
        assert await changed(events, 1) == [(b"p/1", b"")]
        await clients.compact()
        await clients.other.put(b"p/2", b"")

        assert await changed(events, 1) == [(b"p/2", b"")]


async def test_a_large_prefix_is_listed_completely_at_one_revision(clients: Clients) -> None:
    keys = [b"p/%05d" % n for n in range(12_000)]  # more than the first page of a real list
    for start in range(0, len(keys), 100):
        await clients.other.txn([PutOp(key, b"v" + key) for key in keys[start : start + 100]])

    async with clients.backend.listwatch(b"p/") as events:
        pairs, _ = await listed(events)
    assert pairs == [(key, b"v" + key) for key in keys]
    assert [pair.key for pair in await clients.backend.get_prefix(b"p/")] == keys
