"""Delays between retries: doubling, capped, jittered, so that a crowd does not return in step."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """`next()` gives the seconds to wait before the next try; `reset()` after a success.

    `jitter` is the share of a delay that chance may add or take away (0.2: 80 % to 120 %).
    """

    def __init__(
        self, first: float, cap: float, *, jitter: float = 0.2, chance: Callable[[], float] = random.random
    ) -> None:
        self._first = first
        self._cap = cap
        self._jitter = jitter
        self._chance = chance
        self._failures = 0

    @property
    def failures(self) -> int:
        """How many delays were asked for since the last success."""
        return self._failures

    def next(self) -> float:
        # the exponent is bounded: 2**failures would overflow a float after a long outage
        delay = min(self._cap, self._first * 2.0 ** min(self._failures, 60))
        self._failures += 1
        return delay * (1 + self._jitter * (2 * self._chance() - 1))

    def reset(self) -> None:
        self._failures = 0
