"""Events wait for others only when sending costs something, and never for long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustermesh_apiserver.proxy.window import LONGEST_SECONDS, NEAREST_SECONDS, MergeWindow


def test_the_first_event_after_a_silence_does_not_wait() -> None:
    window = MergeWindow()
    window.spent(10.0, 10.030)
    assert window.delay(99.0) == 0


def test_after_an_expensive_round_the_next_one_waits() -> None:
    window = MergeWindow()
    window.spent(10.0, 10.010)
    assert 0 < window.delay(10.011) < LONGEST_SECONDS


def test_cheap_rounds_are_not_nearer_than_a_client_can_read_them() -> None:
    window = MergeWindow()
    window.spent(10.0, 10.0001)
    assert window.delay(10.0001) == pytest.approx(NEAREST_SECONDS - 0.0001)
    assert window.delay(10.0 + NEAREST_SECONDS) == 0


def test_changes_every_three_milliseconds_never_wait() -> None:
    window, now = MergeWindow(), 10.0
    for _ in range(100):
        assert window.delay(now) == 0
        window.spent(now, now + 0.0002)
        now += 1 / 325


@given(st.lists(st.floats(0, 5), min_size=1, max_size=20))
def test_nobody_waits_longer_than_the_bound(rounds: list[float]) -> None:
    window, now = MergeWindow(), 0.0
    for took in rounds:
        window.spent(now, now + took)
        now += took
        assert 0 <= window.delay(now) <= LONGEST_SECONDS
