"""How long new events wait for more before they are sent to all watchers in one round. Pure: time passed in.

Idle: not at all. Under load as long as the last round took, so that half of the time is left to others and
each round carries what came meanwhile: ten events in one message cost about as much as one.
"""

from __future__ import annotations

LONGEST_SECONDS = 0.050  # more would be felt by those who wait for an address
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
        self.seconds = min(LONGEST_SECONDS, 2 * took) if took > _CHEAP_SECONDS else 0.0
        self._last_round = began
