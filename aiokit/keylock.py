"""A lock for each key, that is there only while somebody wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Lock:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class KeyLock:
    def __init__(self) -> None:
        self._locks: dict[Hashable, _Lock] = {}

    def __contains__(self, key: Hashable) -> bool:
        """Whether somebody holds the key, or waits for it."""
        return key in self._locks

    @asynccontextmanager
    async def held(self, key: Hashable) -> AsyncGenerator[None]:
        """One at a time for a key, as long as the block."""
        lock = self._locks.setdefault(key, _Lock())
        lock.users += 1
        try:
            async with lock.lock:
                yield
        finally:
            lock.users -= 1
            if not lock.users:
                del self._locks[key]
