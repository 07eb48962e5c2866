"""What every watcher gets is what etcd sent from its start revision on: each event once, in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustermesh_apiserver.proxy.reply import Chunk
from clustermesh_apiserver.proxy.ring import Cursor, Lapsed, Ring
from tests.clustermesh_apiserver.proxy.answers import Told, chunk, flat, history, told

PLENTY = 1 << 30
HISTORIES = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=20).map(
    lambda pairs: history([count for count, _ in pairs], [gap for _, gap in pairs])
)


@st.composite
def chunked(draw: st.DrawFn, revisions: list[list[Told]]) -> list[Chunk]:
    """The history in answers as etcd may send them: of whole revisions, grouped in any way."""
    chunks, rest = [], list(revisions)
    while rest:
        size = draw(st.integers(1, len(rest)))
        chunks.append(chunk(flat(rest[:size])))
        rest = rest[size:]
    return chunks


def drained(cursor: Cursor) -> list[bytes]:
    got = []
    while (batch := cursor.take()) is not None:
        got.append(batch.raw)
    return got


@given(HISTORIES, st.data())
def test_every_watcher_gets_all_events_from_its_start_once_and_in_order(
    revisions: list[list[Told]], data: st.DataObject
) -> None:
    ring = Ring(0, PLENTY, batch_bytes=data.draw(st.integers(1, 300)))
    every = flat(revisions)
    watchers: list[tuple[int, Cursor, list[bytes]]] = []
    for one in data.draw(chunked(revisions)):
        for start in data.draw(st.lists(st.integers(1, every[-1][0] + 2), max_size=3)):
            watchers += [(start, Cursor(ring, start), [])]
        ring.append(one)
        for _, cursor, got in watchers:
            for _ in range(data.draw(st.integers(0, 3))):  # some are slower than others
                if (batch := cursor.take()) is not None:
                    got.append(batch.raw)
    for start, cursor, got in watchers:
        assert told(got + drained(cursor)) == [event for event in every if event[0] >= start]
        assert cursor.next == max(start, every[-1][0] + 1)


@given(HISTORIES, st.integers(1, 200), st.data())
def test_a_watcher_that_falls_behind_is_told_so_and_has_no_gap_before(
    revisions: list[list[Told]], bound: int, data: st.DataObject
) -> None:
    ring = Ring(0, bound, batch_bytes=60)
    every = flat(revisions)
    cursor, got = Cursor(ring, 1), list[bytes]()
    for one in data.draw(chunked(revisions)):
        ring.append(one)
        assert ring.bytes <= max(bound, len(one.raw))
        try:
            if data.draw(st.booleans()) and (batch := cursor.take()) is not None:
                got.append(batch.raw)
        except Lapsed:
            break
    assert told(got) == every[: len(told(got))]
    assert cursor.has_lapsed == (cursor.next <= ring.floor)
    if not cursor.has_lapsed:
        assert told(got + drained(cursor)) == every[: len(told(got)) + ring_events(ring, cursor, every, got)]


def ring_events(ring: Ring, cursor: Cursor, every: list[Told], got: list[bytes]) -> int:
    """How many of the events that have come this watcher had not taken."""
    return len([event for event in every if event[0] <= ring.covered]) - len(told(got))


@given(HISTORIES, st.data())
def test_going_over_to_another_ring_neither_loses_nor_doubles_events(
    revisions: list[list[Told]], data: st.DataObject
) -> None:
    """Two watches at etcd of the same range, each grouped and begun in its own way."""
    every = flat(revisions)
    last = every[-1][0]
    start, floor = data.draw(st.integers(1, last + 1)), data.draw(st.integers(0, last))
    old, lead = Ring(start - 1, PLENTY), Ring(floor, PLENTY, batch_bytes=100)
    of_old = data.draw(chunked([one for one in revisions if one[0][0] >= start]))
    of_lead = data.draw(chunked([one for one in revisions if one[0][0] > floor]))
    cursor, got = Cursor(old, start), list[bytes]()
    while of_old or of_lead:
        which, chunks = data.draw(
            st.sampled_from([pair for pair in ((old, of_old), (lead, of_lead)) if pair[1]])
        )
        which.append(chunks.pop(0))
        if data.draw(st.booleans()):
            got += drained(cursor)
            cursor.move(lead)
    got += drained(cursor)
    cursor.move(lead)
    got += drained(cursor)
    assert told(got) == [event for event in every if event[0] >= start]


def test_watchers_at_the_same_place_share_the_same_bytes() -> None:
    ring = Ring(0, PLENTY)
    for revision in (2, 3):
        ring.append(chunk([(revision, b"k")]))
    first, second = Cursor(ring, 1).take(), Cursor(ring, 2).take()
    assert first is not None
    assert first is second
    assert first.events == 2


def test_who_takes_later_gets_what_came_meanwhile_in_the_same_batch() -> None:
    ring = Ring(0, PLENTY)
    early, late = Cursor(ring, 1), Cursor(ring, 1)
    ring.append(chunk([(2, b"a")]))
    first = early.take()
    ring.append(chunk([(3, b"b")]))
    both = late.take()
    assert first is not None and both is not None
    assert (told([first.raw]), told([both.raw])) == ([(2, b"a")], [(2, b"a"), (3, b"b")])


def test_a_batch_ends_where_another_answer_would_make_it_too_large() -> None:
    one = chunk([(2, b"a")], value=b"x" * 600)
    ring = Ring(0, PLENTY, batch_bytes=2 * len(one.raw))
    for revision in range(2, 7):
        ring.append(chunk([(revision, b"a")], value=b"x" * 600))
    assert [len(told([raw])) for raw in drained(Cursor(ring, 1))] == [2, 2, 1]


def test_word_that_nothing_happened_moves_a_watcher_on() -> None:
    ring = Ring(4, PLENTY)
    cursor = Cursor(ring, 5)
    ring.reach(90)
    assert cursor.take() is None
    assert cursor.next == 91
    assert cursor.move(Ring(90, PLENTY))
    assert not cursor.move(Ring(91, PLENTY))


def test_what_nobody_has_taken_counts_from_any_place() -> None:
    ring = Ring(0, 2 * len(chunk([(2, b"a")]).raw))
    sizes = []
    for revision in range(2, 6):
        ring.append(chunk([(revision, b"a")]))
        sizes.append(len(chunk([(revision, b"a")]).raw))
    assert ring.unread(ring.end) == 0
    assert ring.unread(ring.end - 1) == sizes[-1]
    assert ring.unread(0) == ring.bytes == sum(sizes[-2:])
    with pytest.raises(Lapsed):
        ring.chunk(0)
