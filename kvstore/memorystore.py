"""A revisioned key-value store in memory: what etcd promises of revisions, history and leases. Pure.

It never expires a lease by itself: there is no clock here, tests say when.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from kvstore.backend import DeleteOp, KeyValue, ModRevisionIs, Op, PutOp
from kvstore.errors import CompactedError, LeaseLostError, RefusedError
from kvstore.watch import Change

MAX_HISTORY = 10_000  # revisions kept; older ones compact by themselves, so that a long run stays small
_cluster_ids = count(0x5EED)


@dataclass
class _Lease:
    ttl_seconds: int
    keys: set[bytes] = field(default_factory=set)


class MemoryStore:
    """One "etcd cluster". Several backends may share it, as several clients share an etcd."""

    def __init__(self) -> None:
        self.cluster_id = 0
        self.replace()

    def replace(self) -> None:
        """Become another cluster: a new id, nothing stored."""
        self.cluster_id = next(_cluster_ids)
        self.revision = 1
        self._entries: dict[bytes, KeyValue] = {}
        self._history: list[tuple[int, list[Change]]] = []
        self._compacted = 0
        self._leases: dict[int, _Lease] = {}
        self._next_lease = 1000

    def get(self, key: bytes) -> KeyValue | None:
        return self._entries.get(key)

    def range(self, key: bytes, range_end: bytes) -> list[KeyValue]:
        return [self._entries[k] for k in sorted(self._entries) if in_range(k, key, range_end)]

    def changes_since(self, revision: int) -> list[tuple[int, list[Change]]]:
        """What happened after `revision`, one entry a revision."""
        if revision < self._compacted:
            raise CompactedError(f"the history is compacted up to revision {self._compacted}")
        return self._history[bisect_left(self._history, revision + 1, key=lambda entry: entry[0]) :]

    def compact(self) -> None:
        """Forget all history so far."""
        self._history.clear()
        self._compacted = self.revision

    def apply(self, ops: Sequence[Op], guards: Sequence[ModRevisionIs] = ()) -> int | None:
        """All ops as one revision; how many keys were deleted, or None when a guard does not hold."""
        if not all(self._mod_revision(guard.key) == guard.revision for guard in guards):
            return None
        self._refuse(ops)
        changes: list[Change] = []
        for op in ops:
            changes += [self._put(op)] if isinstance(op, PutOp) else self._delete(op)
        self._record(changes)
        return sum(value is None for _, value in changes)

    def grant(self, ttl_seconds: int) -> int:
        self._next_lease += 1
        self._leases[self._next_lease] = _Lease(ttl_seconds)
        return self._next_lease

    def keepalive(self, lease: int) -> int:
        if lease not in self._leases:
            raise LeaseLostError(f"lease {lease:x} has expired")
        return self._leases[lease].ttl_seconds

    def revoke(self, lease: int) -> None:
        """End a lease with its keys; also what its expiry does. An absent one is no error."""
        gone = self._leases.pop(lease, None)
        if gone:
            keys = sorted(gone.keys)
            for key in keys:
                del self._entries[key]
            self._record([(key, None) for key in keys])

    def _mod_revision(self, key: bytes) -> int:
        entry = self._entries.get(key)
        return entry.mod_revision if entry else 0

    def _refuse(self, ops: Sequence[Op]) -> None:
        puts = [op for op in ops if isinstance(op, PutOp)]
        if any(op.lease and op.lease not in self._leases for op in puts):
            raise LeaseLostError("requested lease not found")
        written = {op.key for op in puts}
        deleted = [op for op in ops if isinstance(op, DeleteOp)]
        if len(written) < len(puts) or any(
            in_range(k, op.key, op.range_end) for k in written for op in deleted
        ):
            raise RefusedError("duplicate key given in txn request")

    def _put(self, op: PutOp) -> Change:
        self._detach(op.key)
        self._entries[op.key] = KeyValue(op.key, op.value, self.revision + 1, op.lease)
        if op.lease:
            self._leases[op.lease].keys.add(op.key)
        return op.key, op.value

    def _delete(self, op: DeleteOp) -> list[Change]:
        gone = sorted(key for key in self._entries if in_range(key, op.key, op.range_end))
        for key in gone:
            self._detach(key)
            del self._entries[key]
        return [(key, None) for key in gone]

    def _detach(self, key: bytes) -> None:
        entry = self._entries.get(key)
        if entry and entry.lease:
            self._leases[entry.lease].keys.discard(key)

    def _record(self, changes: list[Change]) -> None:
        if not changes:
            return
        self.revision += 1
        self._history.append((self.revision, changes))
        if len(self._history) > MAX_HISTORY:
            self._compacted = self._history.pop(0)[0]


def in_range(key: bytes, start: bytes, range_end: bytes) -> bool:
    """Whether etcd's range [start, range_end) has `key`: b"" is the single key, b"\\0" has no end."""
    if not range_end:
        return key == start
    return key >= start and (range_end == b"\0" or key < range_end)
