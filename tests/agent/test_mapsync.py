"""A table and its map, when writes are cut in pieces and fail half-way."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import mapsync
from agent.desired import Clock, Desired
from agent.mapsync import MapSync, SyncError
from tests.agent.fakemap import FakeMap


def pack(value: int) -> bytes:
    if value > 99:
        raise ValueError("too large for the map")
    return b"%02d" % value


def pack_many(keys: Sequence[int], values: Sequence[int]) -> list[tuple[bytes, bytes]]:
    return [(pack(key), pack(value)) for key, value in zip(keys, values, strict=True)]


VALUES = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 99, 100, 105])  # few: the same ones come and go
CHANGES = st.dictionaries(VALUES, VALUES | st.none(), max_size=8)
ROUNDS = st.lists(st.tuples(CHANGES, st.integers(0, 3), st.booleans()), max_size=6)


@given(ROUNDS, st.sampled_from([3, 1000]))
async def test_the_map_becomes_equal_whatever_fails_on_the_way(
    rounds: list[tuple[dict[int, int | None], int, bool]], size: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapsync, "CHUNK", 4)
        wanted: Desired[int, int] = Desired(Clock())
        target = FakeMap("map", [], size=size)
        sync = MapSync(wanted, target, pack, pack, pack_many=pack_many)
        for changes, failing, compares in rounds:
            for key, value in changes.items():
                wanted.remove(key) if value is None else wanted.upsert(key, value)
            target.failing = failing
            await attempt(sync, compares=compares)
        target.size, target.failing = 1000, 0
        for _ in range(20):
            sync.retry()
            await attempt(sync)
    fitting = {pack(k): pack(v) for k, v in wanted.entries.items() if k <= 99 and v <= 99}
    changed_to_misfit = {pack(k) for k, v in wanted.entries.items() if k <= 99 < v}
    assert {k: v for k, v in target.entries.items() if k not in changed_to_misfit} == fitting


async def attempt(sync: MapSync[int, int], *, compares: bool = False) -> None:
    if compares:
        with suppress(SyncError):
            await sync.compare()
    sync.take()
    for step in (sync.upsert, sync.remove):
        try:
            await step()
        except SyncError:
            continue


async def test_what_is_missing_is_told_although_it_is_not_packed_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapsync, "CHUNK", 4)
    wanted: Desired[int, int] = Desired(Clock())
    for number in range(10):
        wanted.upsert(number, 1)
    sync = MapSync(wanted, FakeMap("map", [], size=6), pack, pack, pack_many=pack_many)
    sync.take()
    with pytest.raises(SyncError, match="full at 6 entries; 4 entries are missing"):
        await sync.upsert()


async def test_what_changes_after_the_taking_waits_for_the_next_one() -> None:
    """All tables of a round are of one moment, however long writing takes."""
    wanted: Desired[int, int] = Desired(Clock())
    target = FakeMap("map", [])
    sync = MapSync(wanted, target, pack, pack, pack_many=pack_many)
    wanted.upsert_all({1: 10, 2: 20})
    sync.take()
    wanted.upsert(1, 11)
    wanted.upsert(3, 30)
    wanted.remove(2)
    await sync.upsert()
    await sync.remove()
    assert target.entries == {pack(1): pack(10), pack(2): pack(20)}
    sync.take()
    await sync.upsert()
    await sync.remove()
    assert target.entries == {pack(1): pack(11), pack(3): pack(30)}


def full_of(*keys: int, size: int) -> tuple[Desired[int, int], FakeMap, MapSync[int, int]]:
    wanted: Desired[int, int] = Desired(Clock())
    wanted.upsert_all(dict.fromkeys(keys, 1))
    target = FakeMap("map", [], size=size)
    return wanted, target, MapSync(wanted, target, pack, pack, pack_many=pack_many)


async def test_an_entry_that_found_no_room_and_is_not_wanted_any_more_never_comes() -> None:
    wanted, target, sync = full_of(1, 2, 3, size=2)
    await attempt(sync)
    assert (target.entries.keys(), sync.unfit) == ({b"01", b"02"}, 1)
    wanted.remove(3)
    await attempt(sync)
    target.size = 9
    sync.retry()
    await attempt(sync)
    assert (target.entries.keys(), sync.unfit) == ({b"01", b"02"}, 0)


async def test_room_that_a_removal_made_is_used_in_the_next_round() -> None:
    wanted, target, sync = full_of(1, 2, 3, size=2)
    await attempt(sync)
    wanted.remove(1)
    for _ in range(2):
        await attempt(sync)
    assert (target.entries.keys(), sync.unfit) == ({b"02", b"03"}, 0)


async def test_what_is_wanted_again_before_it_could_be_removed_stays() -> None:
    for many in (True, False):
        wanted, target, sync = full_of(1, 2, size=9)
        await attempt(sync)
        wanted.remove(1)
        target.failing = 1
        await attempt(sync)
        wanted.upsert(1, 7)
        if not many:
            wanted.remove(2)  # such a round is packed one by one
        await attempt(sync)
        assert target.entries[b"01"] == b"07"
