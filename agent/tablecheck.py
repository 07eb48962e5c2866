"""Is a kernel map what its table wants? For tables whose entries are the map's, one to one.

Two steps, because a map of half a million entries cannot be read at one moment without holding up whoever
writes it: `look` reads everything while writes go on and finds entries that may differ; `confirm` asks for
those alone, while nobody writes. Neither keeps the event loop for longer than SLICE_SECONDS, nor the
interpreter's lock: a dictionary of half a million entries takes 40 ms to grow, so there are many small ones.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from agent.desired import Desired
from agent.difference import MapState, Pair
from agent.mapsync import MapTarget

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

SLICE_SECONDS = 0.005  # before other tasks get a turn
SHARDS = 256


class Readable(MapTarget, Protocol):
    """`bpf.pinned_map.PinnedMap`."""

    def chunks(self) -> Iterator[Iterable[tuple[bytes, bytes]]]: ...


class Check(Protocol):
    """The maps of one table."""

    async def look(self) -> Sequence[MapState]:
        """What seems to differ, read while writes go on. Raises MapError."""

    async def confirm(self, seen: Sequence[MapState]) -> Sequence[MapState]:
        """What of it does differ. Only while the data path is at rest. Raises MapError."""


@dataclass(frozen=True, slots=True)
class Codec(Generic[K, V]):
    """A table's entries and their bytes. ValueError from packing: the layout cannot say it."""

    pack_key: Callable[[K], bytes]
    pack_value: Callable[[V], bytes]
    unpack_key: Callable[[bytes], K]


class TableCheck(Generic[K, V]):
    """Satisfies `Check`."""

    def __init__(self, name: str, wanted: Desired[K, V], target: Readable, codec: Codec[K, V]) -> None:
        self._name = name
        self._wanted = wanted
        self._target = target
        self._codec = codec

    async def look(self) -> list[MapState]:
        held = await asyncio.to_thread(_sharded, self._target)
        size = sum(map(len, held))
        differing: dict[bytes, Pair] = {}
        unfit: dict[str, str] = {}
        turns = _Turns()
        keys = list(self._wanted.entries)
        for key in keys:
            try:
                packed, value = self._packed(key)
            except ValueError as error:
                unfit[str(key)] = str(error)
                continue
            found = held[hash(packed) % SHARDS].pop(packed, None)
            if found != value:
                differing[packed] = Pair(value, found)
            await turns.pause()
        for shard in held:
            differing |= {packed: Pair(None, value) for packed, value in shard.items()}
            await turns.pause()
        return [MapState(self._name, len(keys), size, differing, unfit=unfit)]

    async def confirm(self, seen: Sequence[MapState]) -> list[MapState]:
        (state,) = seen
        differing: dict[bytes, Pair] = {}
        moving: set[bytes] = set()
        turns = _Turns()
        for packed in (*state.differing, *state.moving):
            pair, is_moving = self._now(packed)
            if is_moving:
                moving.add(packed)
            elif pair.wanted != pair.held:
                differing[packed] = pair
            await turns.pause()
        return [replace(state, differing=differing, moving=frozenset(moving))]

    def _now(self, packed: bytes) -> tuple[Pair, bool]:
        """The entry at this moment, and whether it has changed since the last write."""
        held = self._target.lookup(packed)
        try:
            key = self._codec.unpack_key(packed)
            again, value = self._packed(key)
        except ValueError:
            return Pair(None, held), False  # nothing of ours has such a key
        if again != packed:  # it has a part that ours never have
            return Pair(None, held), False
        return Pair(value, held), self._wanted.is_dirty(key)

    def _packed(self, key: K) -> tuple[bytes, bytes | None]:
        value = self._wanted.entries.get(key)
        return self._codec.pack_key(key), None if value is None else self._codec.pack_value(value)


class _Turns:
    """Lets other tasks run every SLICE_SECONDS."""

    def __init__(self) -> None:
        self._end = time.monotonic() + SLICE_SECONDS

    async def pause(self) -> None:
        if time.monotonic() >= self._end:
            await asyncio.sleep(0)
            self._end = time.monotonic() + SLICE_SECONDS


def _sharded(target: Readable) -> list[dict[bytes, bytes]]:
    """All entries, by the hash of their keys."""
    shards: list[dict[bytes, bytes]] = [{} for _ in range(SHARDS)]
    for chunk in target.chunks():
        for key, value in chunk:
            shards[hash(key) % SHARDS][key] = value
    return shards
