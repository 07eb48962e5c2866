"""The peers' delays between attempts: the n-th failure in a row waits n steps (spec 3.5), capped, jittered.

Jittered, because all nodes of all clusters lose a peer in the same second and must not return in step.
"""

from __future__ import annotations

import random
from collections.abc import Callable


class LinearBackoff:
    def __init__(
        self, step: float, cap: float, *, jitter: float = 0.2, chance: Callable[[], float] = random.random
    ) -> None:
        self._step = step
        self._cap = cap
        self._jitter = jitter
        self._chance = chance
        self.failures = 0

    def next(self) -> float:
        self.failures += 1
        delay = min(self._cap, self._step * self.failures)
        return delay * (1 + self._jitter * (2 * self._chance() - 1))

    def reset(self) -> None:
        self.failures = 0
