"""What is refused now is what the peer's etcd has now, whatever happened before and while we were away."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kvstore.watch import Changes, Delta, Event, Listed, Listing, WatchState
from peering.imports import Import
from peering.refusals import MAX_REASONS, OTHER
from peering.standing import MAX_KEY_LENGTH, MAX_KEYS, Standing, added
from tests.agent.values import scope
from tests.peering.test_imports import make

KEYS = st.sampled_from([b"a", b"b", b"c", b"\xff"])
VALUES = st.sampled_from([b"1", b"2", b"9", b"x", None])  # 9 is too big, x is no number; None: deleted
STEPS = st.lists(st.tuples(st.lists(st.tuples(KEYS, VALUES), max_size=4), st.booleans()), max_size=8)
GOOD = (b"1", b"2")


def told(held: Import[int], state: WatchState, *events: Event) -> None:
    for event in events:
        delta = state.apply(event)
        held.apply(Delta(upserts=delta.upserts), scope())
        held.apply(Delta(removes=delta.removes), scope())


@given(STEPS)
def test_what_is_refused_now_follows_the_store_through_changes_and_reconnections(
    steps: list[tuple[list[tuple[bytes, bytes | None]], bool]],
) -> None:
    held, store = make(), dict[bytes, bytes]()
    state = WatchState(held.told)
    told(held, state, Listed(1))
    for changes, is_connected in steps:
        for key, value in changes:
            if value is None:
                store.pop(key, None)
            else:
                store[key] = value
        if is_connected:
            told(held, state, Changes(2, changes))
        else:
            state = WatchState(held.told)
            told(held, state, Listing(list(store.items())), Listed(2))
        bad = {key for key, value in store.items() if value not in GOOD or key == b"\xff"}
        assert set(held.refused.reasons) == bad
        assert sum(held.refused.counts.values()) == len(bad)
        assert {key for key in store if held.holds(key, store[key])} == store.keys() - bad


def test_a_good_value_that_comes_back_is_taken_though_it_was_never_given_up() -> None:
    held = make()
    state = WatchState(held.told)
    told(held, state, Listing([(b"a", b"1")]), Listed(1), Changes(2, [(b"a", b"x")]))
    assert held.refused.counts == {"not a number": 1}
    told(held, state, Changes(3, [(b"a", b"1")]))
    assert held.refused.counts == {}
    assert held.holds(b"a", b"1")


def test_a_drained_peer_has_nothing_that_is_refused() -> None:
    held = make()
    told(held, WatchState(held.told), Listing([(b"a", b"1"), (b"b", b"x")]), Listed(1))
    assert held.drain() == ["a"]
    assert (list(held.told), held.refused.counts) == ([], {})


def test_what_cannot_be_remembered_is_counted_until_the_next_connection() -> None:
    standing = Standing()
    for number in range(MAX_KEYS + 3):
        standing.add(b"%d" % number, "bad")
    standing.add(b"x" * (MAX_KEY_LENGTH + 1), "bad")
    assert standing.counts == {"bad": MAX_KEYS, OTHER: 4}
    standing.discard([b"0", b"%d" % (MAX_KEYS + 1)])
    assert standing.counts == {"bad": MAX_KEYS - 1, OTHER: 4}
    standing.begin()
    assert standing.counts == {"bad": MAX_KEYS - 1}


def test_sums_have_a_bounded_number_of_reasons() -> None:
    sums = added([{f"reason {n}": n for n in range(1, 100)}, {"reason 99": 1}])
    assert (len(sums), sums["reason 99"], sum(sums.values())) == (MAX_REASONS + 1, 100, 4951)


def test_a_key_whose_older_value_is_held_is_told_of_once() -> None:
    held = make()
    told(held, WatchState(held.told), Listing([(b"a", b"1")]), Listed(1), Changes(2, [(b"a", b"x")]))
    assert list(held.told) == [b"a"]


def test_a_key_that_is_known_is_no_other_one_however_many_there_are() -> None:
    standing = Standing()
    for number in range(MAX_KEYS):
        standing.add(b"%d" % number, "bad")
    standing.add(b"7", "worse")
    assert standing.counts == {"bad": MAX_KEYS - 1, "worse": 1}


def test_a_key_longer_than_any_is_counted_and_not_kept() -> None:
    standing = Standing()
    standing.add(b"x" * (MAX_KEY_LENGTH + 1), "bad")
    assert (dict(standing.reasons), standing.counts) == ({}, {OTHER: 1})


def test_what_is_beyond_is_added_to_what_others_could_not_tell() -> None:
    many = {f"reason {n}": 1 for n in range(MAX_REASONS)}
    assert added([{OTHER: 5}, many]) == {OTHER: 6, **dict(list(many.items())[: MAX_REASONS - 1])}
