"""What one connection may cost beside the calls it carries. Pure: the time is passed in.

Each kind of frame that makes work and carries nothing has a budget: so much at once, so much a second, far
above what clients of gRPC send (a ping for each round trip while data flows, two window updates for each
frame of data, a reset for each call given up). Who overdraws is disconnected: ENHANCE_YOUR_CALM.
"""

from __future__ import annotations

from enum import Enum

from clustermesh_apiserver.proxy.http2.frame import Code, ConnectionFault
from clustermesh_apiserver.proxy.quota import Bucket


class Cost(Enum):
    """A kind of frame, how many a second, and how many at once."""

    STREAM = ("calls", 5000, 20_000)
    RESET = ("resets", 500, 4096)  # of streams: a client that ends gives up all it has
    PING = ("pings", 1000, 4000)
    SETTINGS = ("settings", 10, 100)
    WINDOW = ("window updates", 1000, 20_000)  # beside those that data sent has earned
    IDLE = ("frames that say nothing", 100, 1000)

    def __init__(self, text: str, rate: float, burst: float) -> None:
        self.text = text
        self.rate = rate
        self.burst = burst


UPDATES_EARNED = (
    4  # window updates by one frame of data that we sent: its stream's, its connection's, and room
)


class Budget:
    __slots__ = ("_buckets", "_updates")

    def __init__(self) -> None:
        self._buckets: dict[Cost, Bucket] = {}
        self._updates = 0

    def spend(self, cost: Cost, now: float) -> None:
        """Raises ConnectionFault."""
        bucket = self._buckets.get(cost)
        if bucket is None:
            bucket = self._buckets[cost] = Bucket(cost.rate, cost.burst)
        if not bucket.take(now):
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"too many {cost.text}")

    def earn(self, frames: int) -> None:
        """That many frames of data were sent."""
        self._updates += UPDATES_EARNED * frames

    def spend_update(self, now: float) -> None:
        """A window update came. Raises ConnectionFault."""
        if self._updates:
            self._updates -= 1
        else:
            self.spend(Cost.WINDOW, now)
