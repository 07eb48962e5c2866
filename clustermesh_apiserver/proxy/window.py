"""How long new events wait for more before they are sent to all watchers in one round. Pure: time passed in.

Idle: not at all. Under load twice as long as the last round took, so that two thirds of the time are left to
others, and each round carries what came meanwhile: ten events in one message cost about as much as one, us
and those who read them.
"""

from __future__ import annotations

LONGEST_SECONDS = 0.050  # more would be felt by those who wait for an address
ROUNDS_APART = 3  # from the beginning of a round to that of the next
_CHEAP_SECONDS = 0.001  # rounds shorter than this need no relief


class MergeWindow:
    def __init__(self) -> None:
        self.seconds = 0.0
        self._last_round = float("-inf")

    def delay(self, now: float) -> float:
        """Seconds until the next round may begin."""
        return max(0.0, self._last_round + self.seconds - now)

    def spent(self, began: float, ended: float) -> None:
        """A round took that long."""
        took = ended - began
        self.seconds = min(LONGEST_SECONDS, ROUNDS_APART * took) if took > _CHEAP_SECONDS else 0.0
        self._last_round = began
