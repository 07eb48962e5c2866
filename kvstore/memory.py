"""An in-memory twin of `kvstore.etcd.EtcdBackend`, for tests and dry runs, that fails on purpose.

It passes the same contract tests. `another_client()` gives a second backend on the same store: another
program that talks to the same etcd.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field

from kvstore.backend import DeleteOp, KeyValue, ModRevisionIs, Op, PutOp
from kvstore.errors import ClusterChangedError, TransientError
from kvstore.memorystore import MemoryStore, in_range
from kvstore.ranges import prefix_range
from kvstore.watch import Changes, Event, Listed, Listing

_MAX_TXN_OPS = 128
_LIST_CHUNK = 1000  # small, so that tests meet lists of several chunks


@dataclass
class _Shared:
    """A store and who waits for its next change."""

    store: MemoryStore = field(default_factory=MemoryStore)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def announce(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class MemoryBackend:
    """Satisfies `kvstore.backend.Backend`."""

    def __init__(self, *, _shared: _Shared | None = None) -> None:
        self._shared = _shared or _Shared()
        self._cluster_id = 0
        self._failing_writes = 0
        self._failing_reads = 0
        self._breaks = 0
        self.writes = 0  # transactions that changed something: "no needless write" is tested with it

    def another_client(self) -> MemoryBackend:
        return MemoryBackend(_shared=self._shared)

    @property
    def cluster_id(self) -> int:
        return self._cluster_id

    @property
    def entries(self) -> Mapping[bytes, bytes]:
        """All that is stored."""
        return {kv.key: kv.value for kv in self._store.range(b"\0", b"\0")}

    @property
    def is_failing(self) -> bool:
        """Whether failures that were asked for are still to come."""
        return self._failing_writes > 0 or self._failing_reads > 0

    # faults on purpose

    def break_streams(self) -> None:
        """Every open listwatch of this client ends with a TransientError."""
        self._breaks += 1
        self._shared.announce()

    def fail_writes(self, times: int) -> None:
        """The next `times` writes (and lease calls) raise TransientError and change nothing."""
        self._failing_writes = times

    def fail_reads(self, times: int) -> None:
        """The next `times` reads and lists raise TransientError."""
        self._failing_reads = times

    def compact(self) -> None:
        """Forget all history: streams that lag behind end with CompactedError."""
        self._store.compact()
        self._shared.announce()

    def expire(self, lease: int) -> None:
        """What the end of a lease's time does."""
        self._store.revoke(lease)
        self._shared.announce()

    def replace_cluster(self) -> None:
        """Put an empty etcd with another cluster id in the place of this one."""
        self._store.replace()
        self._shared.announce()

    # reading

    async def get(self, key: bytes) -> KeyValue | None:
        await self._before_read()
        return self._store.get(key)

    async def get_prefix(self, prefix: bytes) -> list[KeyValue]:
        await self._before_read()
        return self._store.range(*prefix_range(prefix))

    def listwatch(
        self, prefix: bytes, *, single: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        key, range_end = (prefix, b"") if single else prefix_range(prefix)
        return aclosing(self._listwatch(key, range_end))

    async def _listwatch(self, key: bytes, range_end: bytes) -> AsyncGenerator[Event, None]:
        breaks = self._breaks
        await self._before_read()
        pairs = [(kv.key, kv.value) for kv in self._store.range(key, range_end)]
        revision = self._store.revision
        for start in range(0, max(1, len(pairs)), _LIST_CHUNK):
            yield Listing(pairs[start : start + _LIST_CHUNK])
        yield Listed(revision)
        while True:
            changed = self._shared.changed
            if self._breaks != breaks:
                raise TransientError("the stream was broken on purpose")
            self._check_cluster()
            for at, changes in self._store.changes_since(revision):
                revision = at
                seen = [change for change in changes if in_range(change[0], key, range_end)]
                if seen:
                    yield Changes(revision, seen)
            if changed is self._shared.changed:
                await changed.wait()

    # writing

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> None:
        await self._write([PutOp(key, value, lease)])

    async def delete(self, key: bytes) -> bool:
        return bool(await self._write([DeleteOp(key)]))

    async def delete_prefix(self, prefix: bytes) -> int:
        return await self._write([DeleteOp(*prefix_range(prefix))]) or 0

    async def txn(self, ops: Sequence[Op], guards: Sequence[ModRevisionIs] = ()) -> bool:
        if len(ops) > _MAX_TXN_OPS:
            raise ValueError(f"{len(ops)} operations in one transaction, more than {_MAX_TXN_OPS}")
        return await self._write(ops, guards) is not None

    async def lease_grant(self, ttl_seconds: int) -> int:
        await self._before_write()
        return self._store.grant(ttl_seconds)

    async def lease_keepalive(self, lease: int) -> int:
        await self._before_write()
        return self._store.keepalive(lease)

    async def lease_revoke(self, lease: int) -> None:
        await self._before_write()
        self.expire(lease)

    @property
    def _store(self) -> MemoryStore:
        return self._shared.store

    async def _write(self, ops: Sequence[Op], guards: Sequence[ModRevisionIs] = ()) -> int | None:
        await self._before_write()
        before = self._store.revision
        deleted = self._store.apply(ops, guards)
        if self._store.revision != before:
            self.writes += 1
            self._shared.announce()
        return deleted

    async def _before_write(self) -> None:
        await self._turn()
        if self._failing_writes > 0:
            self._failing_writes -= 1
            raise TransientError("the write failed on purpose")

    async def _before_read(self) -> None:
        await self._turn()
        if self._failing_reads > 0:
            self._failing_reads -= 1
            raise TransientError("the read failed on purpose")

    async def _turn(self) -> None:
        await asyncio.sleep(0)  # a real call never answers at once: let the others run, as it would
        self._check_cluster()

    def _check_cluster(self) -> None:
        if self._cluster_id == 0:
            self._cluster_id = self._store.cluster_id
        if self._cluster_id != self._store.cluster_id:
            raise ClusterChangedError("the store became another etcd cluster")
