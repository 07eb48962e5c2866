"""What a watched prefix holds, and what changed. Pure: no I/O, no clock, no tasks.

A connection's life is Listing*, Listed, Changes*. `WatchState` folds it into deltas against what the
consumer already holds, so that a reconnection is a compare, never a delete-then-add (spec 3.3, 3.6).
Events carry batches because a peer may have 500,000 keys: one Python object per key is too many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, assert_never

Pair = tuple[bytes, bytes]
Change = tuple[bytes, bytes | None]  # None: the key was deleted


@dataclass(frozen=True, slots=True)
class Listing:
    """A chunk of the initial list."""

    pairs: list[Pair]


@dataclass(frozen=True, slots=True)
class Listed:
    """The initial list is complete as of `revision`."""

    revision: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened up to `revision`, in order. May be empty (progress)."""

    revision: int
    changes: list[Change]


Event = Listing | Listed | Changes


@dataclass(frozen=True, slots=True)
class Delta:
    """What the consumer must do, upserts and removes on disjoint keys; `synced` once per connection.

    `live`: it was seen happening, not found in a list.
    """

    upserts: list[Pair] = field(default_factory=list)
    removes: list[bytes] = field(default_factory=list)
    synced: bool = False
    live: bool = field(default=False, compare=False)

    def __bool__(self) -> bool:
        return bool(self.upserts or self.removes or self.synced)


class Holding(Protocol):
    """What a consumer holds, as far as a compare asks: it need not keep the values for that."""

    def __iter__(self) -> Iterator[bytes]: ...
    def __contains__(self, key: bytes, /) -> bool: ...
    def holds(self, key: bytes, value: bytes) -> bool:
        """Whether it has exactly this."""


class Whole:
    """A mapping with all values. Satisfies `Holding`; a view, not a copy."""

    def __init__(self, entries: Mapping[bytes, bytes]) -> None:
        self._entries = entries

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._entries)

    def __contains__(self, key: bytes, /) -> bool:
        return key in self._entries

    def holds(self, key: bytes, value: bytes) -> bool:
        return self._entries.get(key) == value


class WatchState:
    """Folds one connection's events into changes to what the consumer holds.

    `held` is what the consumer has, asked at every event: every delta must have been applied before the next
    event. It is trusted only once listed: a flapping link never blanks the data path, and keys deleted
    meanwhile do not linger. A value that the consumer would not take is offered again whenever it is told.
    """

    def __init__(self, held: Holding) -> None:
        self._held = held
        self._stale = set(held)

    def apply(self, event: Event) -> Delta:
        match event:
            case Listing(pairs):
                return Delta(upserts=self._listing(pairs))
            case Listed():
                gone = sorted(self._stale)
                self._stale.clear()
                return Delta(removes=gone, synced=True)
            case Changes(_, changes):
                return self._changes(changes)
            case _:
                assert_never(event)

    def _listing(self, pairs: list[Pair]) -> list[Pair]:
        if self._stale:
            self._stale.difference_update(key for key, _ in pairs)
        held, holds = self._held, self._held.holds
        return [pair for pair in pairs if pair[0] not in held or not holds(*pair)]

    def _changes(self, changes: list[Change]) -> Delta:
        last = dict(changes)  # only the last change of a key in one batch matters
        held = self._held
        upserts = [(k, v) for k, v in last.items() if v is not None and not held.holds(k, v)]
        removes = [key for key, value in last.items() if value is None and key in held]
        return Delta(upserts, removes, live=True)
