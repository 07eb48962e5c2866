"""Deciding whether a write is needed."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from k8s.differ import covers, with_encoded_secrets, without_nones
from lab.api.patch import merge_patch

KEYS = st.sampled_from("abc")
LEAVES = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from("xy")
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=3)


@given(OBJECTS.map(without_nones), OBJECTS)
def test_what_is_covered_would_not_change_and_a_patch_makes_it_covered(current: Any, wanted: Any) -> None:
    wanted = _without_nones_in_lists(wanted)
    patched = merge_patch(current, wanted)
    assert covers(patched, wanted)
    if not _has_lists(wanted) and covers(current, wanted):
        assert without_nones(patched) == without_nones({**patched, **current})


def _without_nones_in_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nones_in_lists(item) for key, item in value.items()}
    return without_nones([item for item in value if item is not None]) if isinstance(value, list) else value


def _has_lists(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, dict) and any(map(_has_lists, value.values())))


def test_defaults_that_the_server_adds_do_not_count_also_in_lists() -> None:
    assert covers({"ports": [{"port": 80, "protocol": "TCP"}], "type": "x"}, {"ports": [{"port": 80}]})
    assert not covers({"ports": [{"port": 80}, {"port": 81}]}, {"ports": [{"port": 80}]})
    assert not covers({"ports": [{"port": True}]}, {"ports": [{"port": 1}]})


def test_string_data_is_compared_as_the_server_stores_it() -> None:
    body = {"stringData": {"a": "abc", "b": None}, "data": {"c": "eA=="}}
    assert with_encoded_secrets(body) == {"data": {"a": "YWJj", "b": None, "c": "eA=="}}
