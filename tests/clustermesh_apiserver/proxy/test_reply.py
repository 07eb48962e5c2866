"""Answers as bytes: what each is, and that joining, cutting and renumbering change nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustermesh_apiserver.proxy import reply
from clustermesh_apiserver.proxy.reply import Cancelled, Chunk, Created, Heard, Progress
from kvstore import messages as m
from tests.clustermesh_apiserver.proxy.answers import (
    CLUSTER,
    Told,
    chunk,
    events,
    flat,
    header,
    history,
    told,
)

HISTORIES = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=12).map(
    lambda pairs: history([count for count, _ in pairs], [gap for _, gap in pairs])
)


@given(HISTORIES, st.integers(-(2**63), 2**63 - 1))
def test_another_id_changes_the_id_and_nothing_else(revisions: list[list[Told]], to: int) -> None:
    raw = events(flat(revisions))
    renumbered = m.WatchResponse.FromString(reply.with_id(raw, to))
    assert renumbered.watch_id == to
    renumbered.watch_id = 0
    assert renumbered == m.WatchResponse.FromString(raw)


@given(HISTORIES)
def test_joined_answers_are_one_answer_with_the_last_header(revisions: list[list[Told]]) -> None:
    joined = m.WatchResponse.FromString(b"".join(events(one) for one in revisions))
    assert joined.header == header(revisions[-1][0][0])
    assert told([joined.SerializeToString()]) == flat(revisions)


@given(HISTORIES, st.integers(1, 400), st.integers(1, 99))
def test_fragments_have_all_events_and_only_the_last_is_marked_as_such(
    revisions: list[list[Told]], most: int, watch_id: int
) -> None:
    raw = reply.with_id(events(flat(revisions)), watch_id)
    parts = [m.WatchResponse.FromString(part) for part in reply.fragments(raw, most)]
    assert [part.fragment for part in parts] == [True] * (len(parts) - 1) + [False]
    assert {part.watch_id for part in parts} == {watch_id}
    assert all(part.events for part in parts)
    assert told(part.SerializeToString() for part in parts) == flat(revisions)


@given(HISTORIES, st.data())
def test_what_is_cut_off_is_what_came_before(revisions: list[list[Told]], data: st.DataObject) -> None:
    whole = chunk(flat(revisions))
    start = data.draw(st.integers(1, whole.last))
    kept = reply.since(whole, start)
    assert told([kept.raw]) == [event for event in flat(revisions) if event[0] >= start]
    assert (kept.first, kept.last, kept.events) == (
        told([kept.raw])[0][0],
        whole.last,
        len(told([kept.raw])),
    )


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (m.WatchResponse(header=header(5), created=True), lambda _: Created(5)),
        (m.WatchResponse(header=header(5)), lambda raw: Progress(5, raw)),
        (m.WatchResponse(header=header(5), watch_id=-1), lambda raw: Progress(5, raw, asked=True)),
        (
            m.WatchResponse(header=header(5), canceled=True, compact_revision=4),
            lambda raw: Cancelled(raw, 4, ""),
        ),
        (
            m.WatchResponse(header=header(5), created=True, canceled=True, cancel_reason="x"),
            lambda raw: Cancelled(raw, 0, "x"),
        ),
    ],
    ids=["created", "progress", "asked", "compacted", "never made"],
)
def test_answers_without_events_are_told_apart(
    answer: m.WatchResponse, kind: Callable[[bytes], reply.Answer]
) -> None:
    raw = answer.SerializeToString()
    heard = reply.read(raw)
    bare = reply.without_id(raw)
    assert heard == Heard(CLUSTER, answer.watch_id, answer.created, kind(bare))


def test_an_answer_with_events_says_which_revisions_it_has() -> None:
    raw = events([(3, b"a"), (3, b"b"), (9, b"c")])
    assert reply.read(raw) == Heard(CLUSTER, 0, False, Chunk(raw, 3, 9, 3))
    assert reply.read(numbered(raw, 700)) == Heard(CLUSTER, 700, False, Chunk(raw, 3, 9, 3))


def numbered(raw: bytes, watch_id: int) -> bytes:
    """As etcd writes it: the id in its place behind the header."""
    answer = m.WatchResponse.FromString(raw)
    answer.watch_id = watch_id
    return answer.SerializeToString()


@given(HISTORIES, st.integers(-(2**63), 2**63 - 1), st.booleans())
def test_an_id_is_taken_out_wherever_it_is(revisions: list[list[Told]], watch_id: int, is_last: bool) -> None:
    raw = events(flat(revisions))
    given = reply.with_id(raw, watch_id) if is_last else numbered(raw, watch_id)
    assert reply.without_id(given) == raw


@pytest.mark.parametrize(("head", "start", "said"), [(9, 10, 9), (9, 3, 2), (9, 90, 9), (9, 1, 1)])
def test_the_header_of_a_new_watch_is_below_its_first_event(head: int, start: int, said: int) -> None:
    made = m.WatchResponse.FromString(reply.created(header(head), 4, start))
    assert (made.header.revision, made.watch_id, made.created, made.header.cluster_id) == (
        said,
        4,
        True,
        CLUSTER,
    )
