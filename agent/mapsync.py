"""One table of wanted entries and the kernel map that must equal it.

Between compares only what changed is written. What a failed write left undone is owed and tried again; what
a full map has no room for waits for `retry` or for a removal, and holds up no other entry. An entry that
cannot be said in the map's layout is left out and reported, and does not hold back the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Generic, Protocol, TypeVar

from agent.desired import Desired
from agent.errors import AgentError
from bpf.errors import MapError, MapFullError

log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

THREAD_FROM = 2000  # entries: a larger write takes milliseconds and moves off the event loop
CHUNK = 4096  # entries packed, sorted and written before other tasks get a turn: one batch for the kernel
MAX_REPORTED = 16  # entries that do not fit the layout: so many are logged


class SyncError(AgentError):
    """A part of the table is not in the kernel. What was left undone will be tried again."""


class TableSync(Protocol):
    async def compare(self) -> None:
        """Find out what the kernel lacks and what it has too much. Raises SyncError."""

    def take(self) -> None:
        """Note what has changed: `upsert` and `remove` write no later change of it."""

    async def upsert(self) -> None:
        """Write what is wanted and missing. Raises SyncError."""

    async def remove(self) -> None:
        """Remove what is not wanted. Raises SyncError."""

    def retry(self) -> None:
        """Let the next `upsert` also try what found no room."""

    @property
    def unfit(self) -> int:
        """How many entries are wanted that found no room."""

    def __len__(self) -> int: ...


class MapTarget(Protocol):
    """A kernel map: bytes in, bytes out (`bpf.pinned_map`)."""

    def dump(self) -> dict[bytes, bytes]: ...
    def lookup(self, key: bytes) -> bytes | None: ...
    def update(self, items: Iterable[tuple[bytes, bytes]]) -> None: ...
    def delete(self, keys: Iterable[bytes]) -> None: ...


PackMany = Callable[[Sequence[K], Sequence[V]], Iterable[tuple[bytes, bytes]]]


class MapSync(Generic[K, V]):
    """A table whose entries are the map's, one to one."""

    def __init__(
        self,
        wanted: Desired[K, V],
        target: MapTarget,
        pack_key: Callable[[K], bytes],
        pack_value: Callable[[V], bytes],
        *,
        is_urgent: Callable[[bytes], bool] = lambda _: False,
        pack_many: PackMany[K, V] | None = None,
    ) -> None:
        """In a full map entries whose packed value `is_urgent` take the places of others. `pack_many` packs
        many at once; ValueError: one of them does not fit the layout."""
        self._wanted = wanted
        self._is_urgent = is_urgent
        self._target = target
        self._pack_key = pack_key
        self._pack_value = pack_value
        self._pack_many = pack_many
        self._taken: dict[K, V | None] = {}  # changed, and not packed yet; None: it is gone
        self._upserts: dict[bytes, bytes] = {}
        self._removes: set[bytes] = set()
        self._misfits: dict[K, str] = {}
        self._unfit: dict[bytes, bytes] = {}  # what the full map has no room for
        self._is_due = False  # try those again
        self._full = ""

    @property
    def unfit(self) -> int:
        return len(self._unfit)

    def retry(self) -> None:
        self._is_due = True

    def __len__(self) -> int:
        return len(self._wanted.entries)

    async def compare(self) -> None:
        found = await asyncio.to_thread(_dump, self._target)
        self._wanted.take_dirty()  # whatever changes from here on is a later difference
        self._taken.clear()
        entries, keys = self._wanted.entries, list(self._wanted.entries)
        self._upserts.clear()
        self._unfit.clear()
        self._misfits.clear()
        for start in range(0, len(keys), CHUNK):
            for key in keys[start : start + CHUNK]:
                value = entries.get(key)  # of now: what changed meanwhile is taken before anything is written
                packed = self._packed(key, value) if value is not None else None
                if packed is not None and found.pop(packed[0], None) != packed[1]:
                    self._upserts[packed[0]] = packed[1]
            await asyncio.sleep(0)
        self._removes = set(found)

    async def upsert(self) -> None:
        """Piece by piece: packed, and written, while other tasks get their turns."""
        await self._write(len(self._taken))
        taken, self._taken = self._taken, {}
        rest = iter(taken.items())
        for end in range(CHUNK, len(taken) + CHUNK, CHUNK):
            self._pack(dict(islice(rest, CHUNK)))
            try:
                await self._write(max(0, len(taken) - end))
            except SyncError:
                self._taken = dict(rest)
                raise
        if self._unfit and self._is_due:
            await self._try_unfit()
        if self._unfit:
            raise SyncError(f"{self._full}; {len(self._unfit)} entries are missing")

    async def _full_with(self, rest: list[tuple[bytes, bytes]], text: str) -> None:
        """One new entry has no room. The new values of entries that are there have."""
        self._full = text
        self._unfit.update(rest)
        try:
            known = await asyncio.to_thread(_known, self._target, rest)
            await _maybe_in_thread(len(known), self._target.update, known)
        except MapError as error:  # old kernels refuse these too; they are tried again with the others
            known = known[: error.done] if isinstance(error, MapFullError) else []
        for key, _ in known:
            self._unfit.pop(key, None)
        urgent = [(key, value) for key, value in self._unfit.items() if self._is_urgent(value)]
        if urgent:
            await self._place(urgent)

    async def _place(self, urgent: list[tuple[bytes, bytes]]) -> None:
        """Others go first: until the urgent ones are there, less is allowed than should be, never more."""
        held = await asyncio.to_thread(_dump, self._target)
        others = sorted(key for key, value in held.items() if not self._is_urgent(value))
        moved = others[: len(urgent)]
        try:
            await asyncio.to_thread(self._target.delete, moved)
            self._unfit.update((key, held[key]) for key in moved)
            await asyncio.to_thread(self._target.update, urgent)
        except MapError as error:
            urgent = sorted(urgent)[: error.done] if isinstance(error, MapFullError) else []
        for key, _ in urgent:
            self._unfit.pop(key, None)

    async def _try_unfit(self) -> None:
        self._is_due = False
        items = await asyncio.to_thread(sorted, self._unfit.items())
        try:
            await asyncio.to_thread(self._target.update, items)
        except MapError as error:
            items = items[: error.done]
        for key, _ in items:
            self._unfit.pop(key, None)

    async def remove(self) -> None:
        keys = sorted(self._removes)
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            try:
                await _maybe_in_thread(len(chunk), self._target.delete, chunk)
            except MapError as error:
                raise SyncError(f"{error}; up to {len(self._removes)} entries are too many") from error
            self._removes.difference_update(chunk)
            self._is_due = True  # there may be room now

    def take(self) -> None:
        dirty = self._wanted.take_dirty()
        if self._taken:
            self._taken.update(dirty)
        else:
            self._taken = dirty

    async def _write(self, behind: int) -> None:
        """Whatever is packed; `behind` it others wait. Sorted by piece: peers list nearly in order."""
        items = list(self._upserts.items())
        for start in range(0, len(items), CHUNK):
            chunk = sorted(items[start : start + CHUNK])
            try:
                await _maybe_in_thread(len(chunk), self._target.update, chunk)
            except MapFullError as error:
                await self._full_with(chunk[error.done :], str(error))
            except MapError as error:
                self._upserts = dict(chunk[error.done :] + items[start + CHUNK :])
                missing = len(self._upserts) + behind
                raise SyncError(f"{error}; {missing} entries are missing") from error
        self._upserts.clear()

    def _pack(self, changes: Mapping[K, V | None]) -> None:
        packed = self._packed_many(changes)
        if packed is None:
            self._pack_each(changes.items())
        else:
            self._upserts.update(packed)
            if self._removes:
                self._removes.difference_update(self._upserts)
            for key in self._upserts.keys() & self._unfit.keys():
                del self._unfit[key]

    def _packed_many(self, changes: Mapping[K, V | None]) -> Iterable[tuple[bytes, bytes]] | None:
        values = [value for value in changes.values() if value is not None]
        if self._pack_many is None or self._misfits or len(values) < len(changes):
            return None
        try:
            return self._pack_many(list(changes), values)
        except ValueError:
            return None

    def _pack_each(self, changes: Iterable[tuple[K, V | None]]) -> None:
        for key, value in changes:
            if value is None:
                self._misfits.pop(key, None)
                packed_key = self._packed_key(key)
                if packed_key is not None:
                    self._upserts.pop(packed_key, None)
                    self._unfit.pop(packed_key, None)
                    self._removes.add(packed_key)
            elif (packed := self._packed(key, value)) is not None:
                self._removes.discard(packed[0])
                self._unfit.pop(packed[0], None)
                self._upserts[packed[0]] = packed[1]

    def _packed_key(self, key: K) -> bytes | None:
        try:
            return self._pack_key(key)
        except ValueError:
            return None  # it never was in the map

    def _packed(self, key: K, value: V) -> tuple[bytes, bytes] | None:
        try:
            return self._pack_key(key), self._pack_value(value)
        except ValueError as error:
            if key not in self._misfits and len(self._misfits) < MAX_REPORTED:
                self._misfits[key] = str(error)
                log.warning("entry %s does not fit its map: %s", key, error)
            return None


def _known(target: MapTarget, items: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Those whose keys are in the map."""
    return [item for item in items if target.lookup(item[0]) is not None]


def _dump(target: MapTarget) -> dict[bytes, bytes]:
    try:
        return target.dump()
    except MapError as error:
        raise SyncError(str(error)) from error


async def _maybe_in_thread(size: int, call: Callable[[list[K]], None], items: list[K]) -> None:
    if size < THREAD_FROM:
        call(items)
    else:
        await asyncio.to_thread(call, items)
