"""The n-th failure in a row waits n steps."""

from __future__ import annotations

from peering.backoff import LinearBackoff


def test_delays_grow_by_one_step_up_to_the_cap_and_start_again_after_a_success() -> None:
    backoff = LinearBackoff(1.0, 3.0, jitter=0.0)
    assert [backoff.next() for _ in range(5)] == [1.0, 2.0, 3.0, 3.0, 3.0]
    backoff.reset()
    assert backoff.next() == 1.0


def test_chance_moves_a_delay_by_its_share_at_most() -> None:
    assert LinearBackoff(10.0, 60.0, jitter=0.2, chance=lambda: 0.0).next() == 8.0
    assert LinearBackoff(10.0, 60.0, jitter=0.2, chance=lambda: 1.0).next() == 12.0
