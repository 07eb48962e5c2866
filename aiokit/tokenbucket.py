"""A rate that many share: at most so many a second, some at once, first come first served.

For requests and reconnections: a crowd that wants the same thing in the same second is spread out, and
nobody is refused or overtaken. Time is the event loop's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class TokenBucket:
    """`take` returns when it is the caller's turn; `rate` may be changed at any time."""

    def __init__(self, rate: float, burst: int) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError(f"a rate of {rate} with a burst of {burst} lets nobody through")
        self.rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._as_of: float | None = None
        self._turn = asyncio.Lock()  # its waiters come in order

    async def take(self) -> None:
        async with self._turn:
            self._refill()
            if self._tokens < 1:
                await asyncio.sleep((1 - self._tokens) / self.rate)
                self._refill()
            self._tokens -= 1  # a timer that is early by a rounding error borrows from the next one

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """For whoever takes turns of any sort: this one begins when a token is there."""
        await self.take()
        yield

    def _refill(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._as_of is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._as_of) * self.rate)
        self._as_of = now
