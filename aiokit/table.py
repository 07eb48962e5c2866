"""State as a value with a revision: writers commit, readers take snapshots and wait for newer ones.

Promises: a snapshot never changes; revisions only grow; a commit that changes nothing makes no new
revision. Does not promise that a reader sees every revision: compare, never count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[K, V]):
    """The entries at `revision`; `complete` once every source has been listed in full."""

    entries: Mapping[K, V]
    revision: int
    complete: bool


class Table(Generic[K, V]):
    """One writer's or several writers' entries, read through snapshots."""

    def __init__(self) -> None:
        self._entries: dict[K, V] = {}
        self._revision = 0
        self._complete = False
        self._shared = False  # whether a snapshot holds our dict: then the next commit copies it
        self._changed = asyncio.Event()

    def snapshot(self) -> Snapshot[K, V]:
        self._shared = True
        return Snapshot(MappingProxyType(self._entries), self._revision, self._complete)

    def commit(self, upserts: Mapping[K, V], removes: Iterable[K] = ()) -> int:
        """Apply both, removals first; the revision afterwards."""
        gone = {key for key in removes if key in self._entries and key not in upserts}
        new = {key: value for key, value in upserts.items() if not self._holds(key, value)}
        if gone or new:
            if self._shared:
                self._entries = dict(self._entries)
                self._shared = False
            for key in gone:
                del self._entries[key]
            self._entries.update(new)
            self._bump()
        return self._revision

    def mark_complete(self, complete: bool = True) -> None:
        if self._complete != complete:
            self._complete = complete
            self._bump()

    async def wait_newer(self, revision: int) -> None:
        """Return once the table's revision is greater than `revision`."""
        while self._revision <= revision:
            await self._changed.wait()

    def _holds(self, key: K, value: V) -> bool:
        return key in self._entries and self._entries[key] == value

    def _bump(self) -> None:
        self._revision += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
