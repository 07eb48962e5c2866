"""How long new events wait for more before they are sent to all watchers in one round. Pure: time passed in.

What comes after a pause does not wait. Two rounds are never nearer than `NEAREST_SECONDS`: reading a message
costs a client 0.1 to 0.15 ms of CPU, however few events it carries, and thousands of small ones fit into
the buffers on the way: what the client does not keep up with would wait there, where nothing can be
merged any more. Under load a round begins half as long again after the last one began as that took: a third
of the time is left to others, and each round carries what came meanwhile. Without the pause readers on the
same processors fall behind once there are 2,000 of them; one of twice the length only makes events later.
"""

from __future__ import annotations

NEAREST_SECONDS = 0.002  # 500 messages a second take a client 5 to 8 %; 325 changes are further apart
LONGEST_SECONDS = 0.050  # more would be felt by those who wait for an address
SPACING = 1.5


class MergeWindow:
    def __init__(self) -> None:
        self.seconds = 0.0
        self._last_round = float("-inf")

    def delay(self, now: float) -> float:
        """Seconds until the next round may begin."""
        return max(0.0, self._last_round + self.seconds - now)

    def spent(self, began: float, ended: float) -> None:
        """A round took that long."""
        self.seconds = min(LONGEST_SECONDS, max(NEAREST_SECONDS, SPACING * (ended - began)))
        self._last_round = began
