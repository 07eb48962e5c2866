"""Merge patches, strategic ones, and JSON patches."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.api.jsonpatch import json_patch
from lab.api.patch import merge_patch, strategic_merge
from lab.api.status import StatusError

KEYS = st.sampled_from("abc")
PLAIN = st.dictionaries(
    KEYS,
    st.recursive(st.integers(0, 3), lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=6),
)


def difference(old: Any, new: Any) -> Any:
    """The merge patch from one to the other."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    return patch | {key: difference(old.get(key), new[key]) for key in new if old.get(key) != new[key]}


@given(PLAIN, PLAIN)
def test_both_merges_carry_one_object_into_another(old: Any, new: Any) -> None:
    before = deepcopy(old)
    patch = difference(old, new)
    assert merge_patch(old, patch) == new
    assert strategic_merge(old, patch) == new
    assert old == before


def test_named_items_are_merged_added_deleted_and_ordered() -> None:
    old = {"containers": [{"name": "a", "image": "1"}, {"name": "b"}, {"name": "c"}]}
    patch = {
        "$setElementOrder/containers": [{"name": "d"}, {"name": "a"}, {"name": "b"}],
        "containers": [{"name": "a", "tty": True}, {"name": "d"}, {"name": "c", "$patch": "delete"}],
    }
    merged = strategic_merge(old, patch)
    assert merged == {"containers": [{"name": "d"}, {"name": "a", "image": "1", "tty": True}, {"name": "b"}]}


def test_directives_replace_retain_and_remove_from_plain_lists() -> None:
    old = {"spec": {"a": 1, "b": 2}, "strategy": {"type": "x", "rolling": 1}, "finalizers": ["f", "g"]}
    patch = {
        "spec": {"$patch": "replace", "c": 3},
        "strategy": {"$retainKeys": ["type"], "type": "y"},
        "$deleteFromPrimitiveList/finalizers": ["f"],
        "finalizers": ["h"],
    }
    assert strategic_merge(old, patch) == {
        "spec": {"c": 3},
        "strategy": {"type": "y"},
        "finalizers": ["g", "h"],
    }


def test_ports_merge_by_number_but_slices_are_replaced() -> None:
    assert strategic_merge({"ports": [{"port": 80}]}, {"ports": [{"port": 81}]}) == {
        "ports": [{"port": 80}, {"port": 81}]
    }
    slice_ = {"kind": "EndpointSlice", "ports": [{"port": 80}]}
    assert strategic_merge(slice_, {"ports": [{"port": 81}]})["ports"] == [{"port": 81}]


def test_json_patches_follow_the_standard() -> None:
    old: dict[str, Any] = {"a": {"b~/": [1, 2]}, "c": 3}
    patch = [
        {"op": "test", "path": "/c", "value": 3},
        {"op": "add", "path": "/a/b~0~1/1", "value": 9},
        {"op": "add", "path": "/a/b~0~1/-", "value": 8},
        {"op": "remove", "path": "/a/b~0~1/0"},
        {"op": "copy", "from": "/c", "path": "/d"},
        {"op": "move", "from": "/c", "path": "/e"},
        {"op": "replace", "path": "/d", "value": {"x": None}},
    ]
    assert json_patch(old, patch) == {"a": {"b~/": [9, 2, 8]}, "d": {"x": None}, "e": 3}
    assert old == {"a": {"b~/": [1, 2]}, "c": 3}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "remove", "path": "/none"},
        {"op": "replace", "path": "/none", "value": 1},
        {"op": "add", "path": "/list/5", "value": 1},
        {"op": "remove", "path": "/list/-1"},
        {"op": "fly", "path": "/a"},
        {"path": "/a"},
    ],
)
def test_an_operation_that_does_not_fit_is_refused(operation: dict[str, Any]) -> None:
    with pytest.raises(StatusError) as refused:
        json_patch({"a": 1, "list": []}, [operation])
    assert refused.value.code == 422
