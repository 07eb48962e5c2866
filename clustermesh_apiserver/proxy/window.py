"""How long new events wait for more before they are sent to all watchers in one round. Pure: time passed in.

Idle: not at all. Under load a round begins half as long again after the last one began as that took: a third
of the time is left to others, and each round carries what came meanwhile. Without the pause readers on the
same processors fall behind once there are 2,000 of them; one of twice the length only makes events later.
"""

from __future__ import annotations

LONGEST_SECONDS = 0.050  # more would be felt by those who wait for an address
SPACING = 1.5
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
        self.seconds = min(LONGEST_SECONDS, SPACING * took) if took > _CHEAP_SECONDS else 0.0
        self._last_round = began
