"""What a watched prefix holds, and what changed. Pure: no I/O, no clock, no tasks.

A connection's life is Listing*, Listed, Changes*. `WatchState` folds it into deltas against what the
consumer already holds, so that a reconnection is a compare, never a delete-then-add (spec 3.3, 3.6).
Events carry batches because a peer may have 500,000 keys: one Python object per key is too many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

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
    """What the consumer must do, upserts and removes on disjoint keys; `synced` once per connection."""

    upserts: list[Pair] = field(default_factory=list)
    removes: list[bytes] = field(default_factory=list)
    synced: bool = False

    def __bool__(self) -> bool:
        return bool(self.upserts or self.removes or self.synced)


class WatchState:
    """Folds one connection's events into changes to what the consumer holds.

    `held` is what the consumer has now (read back when the connection opens) and is trusted only
    once listed: a flapping link never blanks the data path, and keys deleted meanwhile do not linger.
    """

    def __init__(self, held: Mapping[bytes, bytes]) -> None:
        self._entries = dict(held)
        self._stale = set(held)

    @property
    def entries(self) -> Mapping[bytes, bytes]:
        """What the consumer holds once it has applied every delta."""
        return self._entries

    def apply(self, event: Event) -> Delta:
        match event:
            case Listing(pairs):
                return Delta(upserts=[pair for pair in pairs if self._upsert(*pair)])
            case Listed():
                gone = sorted(self._stale)
                self._stale.clear()
                for key in gone:
                    del self._entries[key]
                return Delta(removes=gone, synced=True)
            case Changes(_, changes):
                return self._changes(changes)
            case _:
                assert_never(event)

    def _upsert(self, key: bytes, value: bytes) -> bool:
        self._stale.discard(key)
        if self._entries.get(key) == value:
            return False
        self._entries[key] = value
        return True

    def _changes(self, changes: list[Change]) -> Delta:
        last = dict(changes)  # only the last change of a key in one batch matters
        upserts: list[Pair] = []
        removes: list[bytes] = []
        for key, value in last.items():
            if value is None:
                if self._entries.pop(key, None) is not None:
                    removes.append(key)
            elif self._upsert(key, value):
                upserts.append((key, value))
        return Delta(upserts, removes)
