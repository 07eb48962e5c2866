"""Chunks of any size become the same lines."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s.lines import Lines, LineTooLongError


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)), st.lists(st.integers(0, 200)))
def test_lines_do_not_depend_on_how_the_stream_is_cut(lines: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    bounds = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    splitter = Lines()
    seen = [line for start, end in pairwise(bounds) for line in splitter.feed(stream[start:end])]
    assert seen == [line for line in lines if line]


def test_an_unfinished_line_stays_back() -> None:
    splitter = Lines()
    assert splitter.feed(b"one\ntw") == [b"one"]
    assert splitter.feed(b"o\n") == [b"two"]


def test_a_line_without_end_is_refused() -> None:
    splitter = Lines(limit=10)
    splitter.feed(b"123456")
    with pytest.raises(LineTooLongError):
        splitter.feed(b"78901")
