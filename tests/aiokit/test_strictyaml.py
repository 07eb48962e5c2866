"""A key that is there twice is an error that says where; everything else reads as YAML does."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aiokit import strictyaml

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abc<", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc<", max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(plain)
def test_a_document_without_doubles_reads_as_it_was_written(document: object) -> None:
    assert strictyaml.load(yaml.safe_dump(document).encode()) == document


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (b"a: 1\nb: 2\na: 3", "line 3: 'a' is there twice, first in line 1"),
        (b"- x:\n    deep: 1\n    deep: 1", "line 3: 'deep' is there twice, first in line 2"),
        (b"{a: 1, 'a': 2}", "line 1: 'a'"),
        (b"z: &z {a: 1}\nb:\n  <<: *z\n  a: 1\n  a: 2", "line 5: 'a'"),
    ],
)
def test_a_double_key_is_said_with_its_line(text: bytes, where: str) -> None:
    with pytest.raises(strictyaml.DuplicateKeyError, match=where):
        strictyaml.load(text)


def test_one_that_overrides_what_it_merges_is_no_double() -> None:
    assert strictyaml.load(b"z: &z {a: 1}\nb: {<<: *z, a: 2}")["b"] == {"a": 2}
