"""The registry: every object of the lab's API in etcd, held in memory for reading, one writer at a time.

Promises: a write is in etcd before it is answered or seen by a watcher; resourceVersion is etcd's
revision; a change that somebody else makes in etcd is noticed through one upstream watch and passed on;
after a lost upstream watch everything is compared again.
It expects to be the only API server of its etcd: another one's concurrent writes would be seen, but
not always under the revision they were made at. It does not retry writes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager

import msgspec

from aiokit.backoff import Backoff
from kvstore.backend import Backend, DeleteOp, KeyValue, ModRevisionIs, Op, PutOp
from kvstore.errors import CompactedError, TransientError
from kvstore.watch import Changes, Listed
from lab.api.collection import Change, Collection, Json, Stored, from_value, stored_value
from lab.api.kinds import REGISTRY, Kind

MARK = REGISTRY + b"revision"  # rewritten by every transaction: its revision is the transaction's
DELETES_PER_TXN = 100  # etcd allows 128 operations
START_SECONDS = 30.0  # etcd may still be starting when we are

log = logging.getLogger(__name__)


class OutdatedError(Exception):
    """etcd holds something else than we thought; our copy is right again: decide anew."""


class Store:
    """All collections. Reading needs no lock; deciding on a write and making it happen under `writing()`."""

    def __init__(self, backend: Backend) -> None:
        self.revision = 0  # of the last write: what a list is labelled with
        self.is_closing = False
        self._backend = backend
        self._collections: dict[bytes, Collection] = {}
        self._lock = asyncio.Lock()
        self._has_gap = False

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Load everything, then keep up with etcd while the block runs."""
        await self._load()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._follow(Backoff(0.2, 5)), name="registry watch")
            try:
                yield
            finally:
                task.cancel()

    def collection(self, prefix: bytes) -> Collection:
        return self._collections.setdefault(prefix, Collection(floor=self.revision))

    def of_kind(self, kind: Kind) -> Collection:
        return self.collection(kind.prefix)

    def collections(self) -> Iterable[Collection]:
        return tuple(self._collections.values())

    def get(self, kind: Kind, namespace: str, name: str) -> Stored | None:
        return self.of_kind(kind).objects.get(kind.key(namespace, name))

    def forget_history(self) -> None:
        """As after etcd's compaction: every older resourceVersion is gone."""
        for collection in self._collections.values():
            collection.forget_history(self.revision)

    def close(self) -> None:
        """End all watches: the server is going down."""
        self.is_closing = True
        for collection in self._collections.values():
            collection.wake()

    # writing

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[None]:
        async with self._lock:
            yield

    async def put(self, key: bytes, body: Json, old: Stored | None) -> Stored:
        """Store the body in place of `old`. Raises OutdatedError when that is not what etcd holds."""
        value = stored_value(body)
        guard = ModRevisionIs(key, old.revision if old else 0)
        revision = await self._commit([PutOp(key, value)], [guard])
        new = from_value(key, value, revision)
        self._apply(Change(revision, old, new))
        return new

    async def delete(self, doomed: Sequence[Stored]) -> list[Stored]:
        """Delete these, a hundred a transaction; gives them as they were, under the delete's revision."""
        gone: list[Stored] = []
        for start in range(0, len(doomed), DELETES_PER_TXN):
            chunk = doomed[start : start + DELETES_PER_TXN]
            guards = [ModRevisionIs(stored.key, stored.revision) for stored in chunk]
            revision = await self._commit([DeleteOp(stored.key) for stored in chunk], guards)
            for stored in chunk:
                self._apply(Change(revision, stored, None))
                gone.append(from_value(stored.key, stored.value, revision))
        return gone

    async def _commit(self, ops: Sequence[Op], guards: Sequence[ModRevisionIs]) -> int:
        """The revision at which etcd applied the operations."""
        if not await self._backend.txn([*ops, PutOp(MARK, b"1")], guards):
            for guard in guards:
                await self._reread(guard.key, self.revision)
            raise OutdatedError(f"{len(guards)} keys were not as expected")
        mark = await self._backend.get(MARK)
        if mark is None:
            raise TransientError("the registry's revision is missing")
        return mark.mod_revision

    # keeping up with etcd

    async def _load(self) -> None:
        backoff = Backoff(0.05, 1)
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    await self._backend.put(MARK, b"1")  # also tells the revision to begin at
                    await self._compare()
                except TransientError as error:
                    log.info("etcd does not answer yet: %s", error)
                    await asyncio.sleep(backoff.next())
                else:
                    return

    async def _follow(self, backoff: Backoff) -> None:
        while True:
            try:
                async with self._backend.listwatch(REGISTRY) as events:
                    async for event in events:
                        if isinstance(event, Listed):
                            await self._compare()
                            backoff.reset()
                        elif isinstance(event, Changes):
                            await self._check(event)
            except CompactedError as error:
                log.warning("registry watch compacted: %s", error)
                self.forget_history()
            except TransientError as error:
                log.warning("registry watch interrupted: %s", error)
            await asyncio.sleep(backoff.next())

    async def _compare(self) -> None:
        """Make our copy equal to etcd's; unless it was, the history in between is lost."""
        async with self._lock:
            pairs = {pair.key: pair for pair in await self._backend.get_prefix(REGISTRY)}
            revision = max((pair.mod_revision for pair in pairs.values()), default=0)
            news = sum([self._take(pair) for pair in pairs.values()])
            held = [entry for collection in self.collections() for entry in collection.objects.values()]
            gone = [entry for entry in held if entry.key not in pairs]
            for entry in gone:
                self._apply(Change(revision, entry, None))
            self.revision = max(self.revision, revision)
            if news or gone:
                log.info("registry compared: %s objects differed, %s were gone", news, len(gone))
                self._has_gap = True
            await self._close_gap()

    async def _check(self, event: Changes) -> None:
        """Our own writes are known already; anything else is read again and passed on."""
        for key, value in event.changes:
            async with self._lock:
                known = self._known(key)
                if key != MARK and (known.value if known else None) != value:
                    await self._reread(key, event.revision)
                await self._close_gap()

    async def _close_gap(self) -> None:
        """Changes became known out of order: begin a new history, at a revision that no client has seen.

        Nobody can resume across it, so nobody misses a change made before a revision known already.
        """
        if self._has_gap:
            self.revision = await self._commit([], [])
            self.forget_history()
            self._has_gap = False

    async def _reread(self, key: bytes, revision: int) -> None:
        pair = await self._backend.get(key)
        known = self._known(key)
        if pair is not None:
            self._take(pair)
        elif known is not None:
            self._apply(Change(max(revision, known.revision), known, None))

    def _take(self, pair: KeyValue) -> bool:
        """Whether this pair of etcd's was news."""
        prefix = _collection_prefix(pair.key)
        known = self._known(pair.key)
        if not prefix or (known is not None and known.revision == pair.mod_revision):
            return False
        try:
            new = from_value(pair.key, pair.value, pair.mod_revision)
        except (msgspec.MsgspecError, KeyError, TypeError):
            log.warning("registry holds no object under %s", pair.key)
            return False
        self._apply(Change(pair.mod_revision, known, new))
        return True

    def _known(self, key: bytes) -> Stored | None:
        prefix = _collection_prefix(key)
        return self.collection(prefix).objects.get(key) if prefix else None

    def _apply(self, change: Change) -> None:
        entry = change.new or change.old
        if entry is None:
            return
        self.collection(_collection_prefix(entry.key)).apply(change)
        self._has_gap = self._has_gap or change.revision < self.revision  # somebody else's write, seen late
        self.revision = max(self.revision, change.revision)


def _collection_prefix(key: bytes) -> bytes:
    """`/registry/<group>/<plural>/` of an object's key; empty for any other key."""
    parts = key.split(b"/", 4)
    return b"/".join(parts[:4]) + b"/" if len(parts) == 5 else b""
