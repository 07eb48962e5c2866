"""Listings and events, folded into deltas: whatever happens, the consumer's copy ends up right."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from k8s.collection import CollectionState, ObjectDelta
from k8s.core import ConfigMap
from k8s.errors import GoneError
from k8s.listing import ObjectList

NAMES, VERSIONS = st.sampled_from("abc"), st.integers(1, 5).map(str)
CONTENTS = st.dictionaries(NAMES, VERSIONS)
LIVE = st.lists(st.tuples(st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]), NAMES, VERSIONS))


def body(name: str, version: str) -> bytes:
    return b'{"metadata":{"name":"%s","resourceVersion":"%s"}}' % (name.encode(), version.encode())


def line(type_: str, name: str, version: str) -> bytes:
    return b'{"type":"%s","object":%s}' % (type_.encode(), body(name, version))


def listing(contents: dict[str, str]) -> ObjectList:
    return ObjectList([msgspec.Raw(body(*pair)) for pair in contents.items()], "100")


def apply(copy: dict[str, str], delta: ObjectDelta[ConfigMap]) -> None:
    assert not delta.upserts.keys() & delta.removes
    for key, value in delta.upserts.items():
        copy[key] = value.metadata.resourceVersion
    for key in delta.removes:
        del copy[key]  # removing what is not there would fail


@given(CONTENTS, LIVE, CONTENTS)
def test_a_copy_is_right_after_any_events_and_after_listing_again(
    first: dict[str, str], live: list[tuple[str, str, str]], second: dict[str, str]
) -> None:
    state, copy = CollectionState("configmaps", ConfigMap), dict[str, str]()
    apply(copy, state.listed(listing(first)))
    assert copy == first
    delta, error = state.happened(line(*event) for event in live)
    apply(copy, delta)
    for type_, name, version in live:
        if type_ == "DELETED":
            first.pop(name, None)
        elif type_ != "BOOKMARK":
            first[name] = version
    assert (copy, error) == (first, None)
    delta = state.listed(listing(second))
    assert delta.synced
    assert all(first.get(key) != value.metadata.resourceVersion for key, value in delta.upserts.items())
    apply(copy, delta)
    assert copy == second


def test_a_bookmark_moves_the_version_and_nothing_else() -> None:
    state = CollectionState("configmaps", ConfigMap)
    state.listed(listing({"a": "1"}))
    bookmark = b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7","creationTimestamp":null}}}'
    delta, error = state.happened([bookmark])
    assert (bool(delta), error, state.resource_version) == (False, None, "7")


def test_events_before_an_error_in_the_same_chunk_are_not_lost() -> None:
    state = CollectionState("configmaps", ConfigMap)
    gone = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}'
    delta, error = state.happened([line("ADDED", "a", "2"), gone])
    assert set(delta.upserts) == {"a"}
    assert isinstance(error, GoneError)


def test_an_object_that_breaks_keeps_its_last_good_version_across_a_listing() -> None:
    state = CollectionState("configmaps", ConfigMap)
    state.listed(listing({"a": "1"}))
    broken = msgspec.Raw(b'{"metadata":{"name":"a","resourceVersion":"2"},"data":{"x":1}}')
    delta = state.listed(ObjectList([broken], "3"))
    assert (delta.upserts, delta.removes, state.skipped) == ({}, set(), 1)
    assert state.listed(ObjectList([], "4")).removes == {"a"}
