"""History: what a watcher gets from anywhere in it, and the past that can be rebuilt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.api.collection import Change, Collection, HistoryGoneError, Stored, from_value

RING = 4
STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12)


def stored(name: str, revision: int) -> Stored:
    return from_value(name.encode(), b'{"metadata":{"name":"%s"}}' % name.encode(), revision)


def play(steps: list[tuple[str, bool]]) -> tuple[Collection, list[dict[bytes, Stored]]]:
    """A collection after the steps (put or delete), and what it held at every revision."""
    collection, past = Collection(ring=RING), [dict[bytes, Stored]()]
    for name, is_put in steps:
        old = collection.objects.get(name.encode())
        if is_put or old is not None:
            revision = len(past)
            collection.apply(Change(revision, old, stored(name, revision) if is_put else None))
            past.append(dict(collection.objects))
    return collection, past


@given(STEPS)
def test_the_past_is_rebuilt_as_far_as_history_reaches(steps: list[tuple[str, bool]]) -> None:
    collection, past = play(steps)
    for revision, objects in enumerate(past):
        if revision < len(past) - 1 - RING:
            with pytest.raises(HistoryGoneError):
                collection.at(revision)
        else:
            assert collection.at(revision) == objects


@given(STEPS)
def test_a_watcher_gets_exactly_what_came_after_its_revision(steps: list[tuple[str, bool]]) -> None:
    collection, past = play(steps)
    for revision in range(max(0, len(past) - 1 - RING), len(past)):
        changes = collection.changes_from(collection.number_after(revision))
        assert [change.revision for change in changes] == list(range(revision + 1, len(past)))


def test_a_watcher_that_falls_out_of_the_ring_is_told() -> None:
    collection, _ = play([("a", True)])
    number = collection.next_number
    for revision in range(2, 2 + RING + 1):
        collection.apply(Change(revision, None, stored("b", revision)))
    with pytest.raises(HistoryGoneError):
        collection.changes_from(number)


def test_after_a_compaction_only_the_newest_revision_can_be_watched_from() -> None:
    collection, _ = play([("a", True), ("b", True)])
    collection.forget_history(2)
    assert collection.changes_from(collection.number_after(2)) == []
    with pytest.raises(HistoryGoneError):
        collection.number_after(1)
    assert set(collection.objects) == {b"a", b"b"}
