"""A bounded number of turns at a time, shared fairly between callers of different names.

Whoever has many requests waiting gets every n-th turn where n want some: a flood of one cannot starve the
others. Promises: at most `limit` turns at once; a cancelled waiter takes nobody's turn away.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Turns:
    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"{limit} turns at a time let nobody through")
        self._free = limit
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # next name first

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncGenerator[None]:
        """A turn of `name`, as long as the block."""
        await self._take(name)
        try:
            yield
        finally:
            self._give()

    async def _take(self, name: str) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give()  # it had been given to us already
            raise

    def _give(self) -> None:
        """To the next name's first waiter that still waits; the name goes to the end of the line."""
        while self._waiting:
            name, line = self._waiting.popitem(last=False)
            while line:
                turn = line.popleft()
                if turn.done():
                    continue
                if line:
                    self._waiting[name] = line
                turn.set_result(None)
                return
        self._free += 1
