"""How fast our etcd is written to: generously until everything was published once, then as told."""

from __future__ import annotations

from dataclasses import dataclass

from aiokit.tokenbucket import TokenBucket

DEFAULT_BOOTSTRAP_RATE = 10_000.0  # Cilium's etcd.bootstrapQps


@dataclass(frozen=True, slots=True)
class Pace:
    """Requests a second. A request writes up to a hundred keys."""

    rate: float
    bootstrap_rate: float = DEFAULT_BOOTSTRAP_RATE


class Pacer:
    """`bucket` None: not bounded."""

    def __init__(self, pace: Pace | None) -> None:
        self._pace = pace
        self.bucket: TokenBucket | None = None
        if pace is not None:
            self.bucket = TokenBucket(pace.bootstrap_rate, max(1, round(pace.rate)))

    def begin(self) -> None:
        """A store that may lack everything."""
        if self.bucket is not None and self._pace is not None:
            self.bucket.rate = self._pace.bootstrap_rate

    def settle(self) -> None:
        """Everything is published."""
        if self.bucket is not None and self._pace is not None:
            self.bucket.rate = self._pace.rate
