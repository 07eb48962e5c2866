"""Wanted state with a revision, and which of it the kernel has not seen yet.

A table that hands out snapshots copies itself for its readers; half a million remote addresses that change
hundreds of times a second cannot afford that. A `Desired` has one writer and one reader on one event loop:
the reader takes the keys that changed instead of comparing everything. All tables share one `Clock`, so
that "everything up to here is in the kernel" is one comparison. No I/O, no tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Clock:
    """The revision of all wanted state together. Grows with every change."""

    def __init__(self) -> None:
        self.revision = 0
        self._changed: asyncio.Event | None = None  # made by who waits: ticks come by the hundred thousand

    def tick(self) -> None:
        self.revision += 1
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def wait_newer(self, revision: int) -> None:
        while self.revision <= revision:
            if self._changed is None:
                self._changed = asyncio.Event()
            await self._changed.wait()


class Desired(Generic[K, V]):
    """What should be in one kernel map."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[K, V] = {}
        # What changed and to what (None: it went), in that order: whoever follows reads memory so.
        self._dirty: dict[K, V | None] = {}

    @property
    def entries(self) -> Mapping[K, V]:
        """A live view: do not keep it across an await."""
        return MappingProxyType(self._entries)

    @property
    def dirty(self) -> int:
        return len(self._dirty)

    def is_dirty(self, key: K) -> bool:
        """Whether it changed since the reader's last call: the kernel cannot have it yet."""
        return key in self._dirty

    def dirty_keys(self) -> frozenset[K]:
        return frozenset(self._dirty)

    def upsert(self, key: K, value: V) -> None:
        if self._entries.get(key) != value:
            self._entries[key] = self._dirty[key] = value
            self._clock.tick()

    def upsert_all(self, entries: Mapping[K, V]) -> None:
        """Many at once: the clock ticks once for them."""
        known = self._entries
        if not known.keys().isdisjoint(entries):
            entries = {key: value for key, value in entries.items() if known.get(key) != value}
        if entries:
            known.update(entries)
            self._dirty.update(entries)
            self._clock.tick()

    def remove(self, key: K) -> None:
        if self._entries.pop(key, None) is not None:
            self._dirty[key] = None
            self._clock.tick()

    def take_dirty(self) -> dict[K, V | None]:
        """What changed since the last call (None: it went); the reader now owes it to the kernel.

        Costs the same for one change as for a hundred thousand.
        """
        dirty, self._dirty = self._dirty, {}
        return dirty
