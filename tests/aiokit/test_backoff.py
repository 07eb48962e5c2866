from hypothesis import given
from hypothesis import strategies as st

from aiokit.backoff import Backoff


@given(st.integers(0, 200), st.floats(0, 1))
def test_delays_stay_within_the_cap_and_its_jitter(failures: int, chance: float) -> None:
    backoff = Backoff(0.5, 30, jitter=0.2, chance=lambda: chance)
    delays = [backoff.next() for _ in range(failures + 1)]
    assert all(0.4 <= delay <= 36.001 for delay in delays)
    assert delays == sorted(delays)


def test_a_success_starts_the_delays_over() -> None:
    backoff = Backoff(1, 60, jitter=0)
    assert [backoff.next() for _ in range(3)] == [1, 2, 4]
    backoff.reset()
    assert (backoff.failures, backoff.next()) == (0, 1)
