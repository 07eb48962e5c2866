from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiokit.histogram import Histogram


def test_a_value_at_the_end_of_a_bucket_is_in_it() -> None:
    histogram = Histogram((0.001, 1.0))
    for value in (0.001, 0.5, 1.0, 7.0):
        histogram.observe(value)
    assert histogram.buckets() == [("0.001", 1), ("1", 3), ("+Inf", 4)]
    assert histogram.total == 8.501


@given(st.lists(st.tuples(st.floats(0, 9), st.integers(0, 5))))
def test_many_at_once_are_as_many_one_by_one(measured: list[tuple[float, int]]) -> None:
    at_once, listed, one_by_one = (Histogram((1.0, 2.0, 5.0)) for _ in range(3))
    for value, count in measured:
        at_once.observe(value, count)
        listed.observe_all([value] * count)
        for _ in range(count):
            one_by_one.observe(value)
    assert at_once.buckets() == listed.buckets() == one_by_one.buckets()
    assert listed.total == pytest.approx(one_by_one.total)
