"""Local entries to a prefix of our own etcd, leased, and the synced key once everything stands there.

Promises: what the source wants is stored, whatever fails in between; bytes that stand there with the
right lease are not written again; keys of lost leases are written again, as are keys that somebody else
changed or deleted (found by comparing everything from time to time); keys left over from an earlier run
live on, under that run's leases, until they are written anew; they are deleted only after the source's
first complete listing, and only then, with everything stored, is the synced key written. It does not
survive another etcd cluster: ClusterChangedError ends `run`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from aiokit.backoff import Backoff
from aiokit.histogram import Histogram
from kvstore.backend import DeleteOp, KeyValue, Op, PutOp, Readable, Writable
from kvstore.errors import ClusterChangedError, KVStoreError, LeaseLostError, RefusedError
from kvstore.lease import LeasePool
from kvstore.ledger import Ledger, Step

log = logging.getLogger(__name__)

BATCH_KEYS = 100  # etcd takes 128 operations in a transaction; most of the gain is there at 100
BATCH_BYTES = 1024 * 1024  # etcd takes requests of 1.5 MiB
BATCHES_AT_ONCE = 8  # hides the round trip and the disk's sync without flooding etcd
RESYNC_SECONDS = 300.0  # how long a foreign change of our keys may stand
DIGESTED_AT_ONCE = 5000  # about 5 ms, before other tasks get a turn
REFUSED_RETRY_SECONDS = 30.0  # a refusal may be of the moment: permissions are set up while we start


class Store(Readable, Writable, Protocol):
    """What is needed of the backend here; the leases come from the pool."""


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """`queued` includes entries being written and refused ones; `synced` is about the synced key.

    `digest` is that of what is stored (`kvstore.digest`), empty while that is changing.
    """

    queued: int
    stored: int
    errors: int
    synced: bool
    last_error: str = ""
    digest: str = ""


class SyncStore:
    """`propagation` is told how long each change took, in seconds from its `upsert` or `remove`. `prunes`
    False: others write below the prefix, too; only what is removed by name is deleted."""

    def __init__(
        self,
        backend: Store,
        prefix: bytes,
        leases: LeasePool,
        *,
        synced_key: bytes | None,
        backoff: Backoff | None = None,
        resync_seconds: float = RESYNC_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        propagation: Histogram | None = None,
        prunes: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.synced = asyncio.Event()
        self._backend = backend
        self._prefix = prefix
        self._leases = leases
        self._synced_key = synced_key
        self._backoff = backoff or Backoff(0.1, 30.0)
        self._resync_seconds = resync_seconds
        self._now = now
        self._propagation = propagation
        self._clock = clock
        self._ledger = Ledger(prunes=prunes)
        self._work = asyncio.Event()
        self._compare_at = 0.0
        self._is_announced = False
        self._has_inherited = False
        self._prunes = prunes
        self._errors = 0
        self._last_error = ""

    def upsert(self, suffix: bytes, value: bytes) -> None:
        """`suffix` shall hold `value`. Stored soon, by `run`."""
        self._ledger.upsert(suffix, value, self._clock())
        self._work.set()

    def remove(self, suffix: bytes) -> None:
        self._ledger.remove(suffix, self._clock())
        self._work.set()

    def mark_listed(self) -> None:
        """Every entry of the source's first complete listing was upserted."""
        self._ledger.mark_listed()
        self._work.set()

    def status(self) -> SyncStatus:
        ledger = self._ledger
        return SyncStatus(
            ledger.pending, ledger.stored, self._errors, self._is_announced, self._last_error, ledger.digest
        )

    async def run(self) -> None:
        """Store until cancelled. Store errors are retried; another etcd cluster ends it."""
        with self._leases.reporting_losses(self._lost):
            while True:
                try:
                    await self._converge()
                except ClusterChangedError:
                    raise
                except KVStoreError as error:
                    await asyncio.sleep(self._noted(error))
                else:
                    self._backoff.reset()
                    self._last_error = "" if not self._ledger.parked else self._last_error
                    await self._work_or_resync()

    async def _converge(self) -> None:
        self._work.clear()
        if _clock() >= self._compare_at:
            await self._compare()
        while self._ledger.queued:
            await self._flush()
        if self._ledger.is_listed and not self._ledger.parked and not self._is_announced:
            await self._announce()
        if self._has_inherited and self._ledger.is_listed and not self._ledger.parked:
            await self._leases.inherit(self._prefix, ())
            self._has_inherited = False
        await self._digest()

    async def _digest(self) -> None:
        """In the time between: whatever is to be stored comes first."""
        more = True
        while more and not self._ledger.queued:
            more = self._ledger.digest_some(DIGESTED_AT_ONCE)
            await asyncio.sleep(0)

    async def _work_or_resync(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._compare_at - _clock())):
                await self._work.wait()

    async def _compare(self) -> None:
        start = len(self._prefix)
        actual = [
            replace(pair, key=pair.key[start:]) for pair in await self._backend.get_prefix(self._prefix)
        ]
        self._ledger.observe(actual, lambda suffix: self._leases.bound_to(self._prefix + suffix))
        if self._synced_key is not None and self._is_announced:
            pair = await self._backend.get(self._synced_key)
            lease = self._leases.bound_to(self._synced_key)
            self._is_announced = pair is not None and pair.lease == lease
        if self._prunes:  # else others write here: their keys are not ours to keep
            await self._inherit(actual)
        self._compare_at = _clock() + self._resync_seconds

    async def _inherit(self, actual: Iterable[KeyValue]) -> None:
        canary = await self._backend.get(self._synced_key) if self._synced_key is not None else None
        leases = {pair.lease for pair in (*actual, *([canary] if canary else ()))}
        self._has_inherited = True
        await self._leases.inherit(self._prefix, leases)

    async def _flush(self) -> None:
        """One round of batches. They hold different keys, so their order does not matter."""
        batches: list[list[Step]] = []
        while self._ledger.queued and len(batches) < BATCHES_AT_ONCE:
            batches.append(self._ledger.take(BATCH_KEYS, BATCH_BYTES))
        name = f"store {self._prefix!r}"
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._store(batch), name=name) for batch in batches]
        errors = [error for task in tasks if (error := task.result()) is not None]
        if errors:  # another cluster is the one that must not be hidden behind the others
            raise next((e for e in errors if isinstance(e, ClusterChangedError)), errors[0])

    async def _store(self, steps: list[Step]) -> KVStoreError | None:
        """Store one batch; the error if it must be tried again."""
        leases: set[int] = set()
        try:
            planned = [(step, await self._lease(step)) for step in steps]
            leases = {lease for _, lease in planned if lease}
            due = [(step, lease) for step, lease in planned if not self._ledger.is_stored(step, lease)]
            if due:
                await self._backend.txn([self._op(step, lease) for step, lease in due])
        except RefusedError as error:
            return await self._store_apart(steps, error)
        except KVStoreError as error:
            for step in steps:
                self._ledger.failed(step)
            return await self._after_lost(leases, error) if isinstance(error, LeaseLostError) else error
        for step, lease in planned:
            self._ledger.done(step, lease)
            if step.value is None:
                self._leases.release(self._prefix + step.key)
        self._measure(steps)
        return None

    def _measure(self, steps: Iterable[Step]) -> None:
        if self._propagation is None:
            return
        now = self._clock()
        self._propagation.observe_all([now - step.heard for step in steps if step.heard is not None])

    async def _store_apart(self, steps: list[Step], error: RefusedError) -> KVStoreError | None:
        """Find the entries that are refused, by halves: a bad one must not hold back the good ones."""
        if len(steps) == 1:
            self._ledger.refused(steps[0])
            self._compare_at = min(self._compare_at, _clock() + REFUSED_RETRY_SECONDS)
            self._errors += 1
            self._last_error = f"{steps[0].key!r}: {error}"
            log.warning("storing %r below %r was refused: %s", steps[0].key, self._prefix, error)
            return None
        middle = len(steps) // 2
        first = await self._store(steps[:middle])
        second = await self._store(steps[middle:])
        return first or second

    async def _after_lost(self, leases: set[int], error: KVStoreError) -> KVStoreError:
        """A transaction does not say which of its leases is gone: ask, so that the pool drops it."""
        try:
            await self._leases.check(leases)
        except KVStoreError as other:
            return other
        return error

    async def _lease(self, step: Step) -> int:
        return 0 if step.value is None else await self._leases.lease_for(self._prefix + step.key)

    def _op(self, step: Step, lease: int) -> Op:
        key = self._prefix + step.key
        return DeleteOp(key) if step.value is None else PutOp(key, step.value, lease)

    async def _announce(self) -> None:
        if self._synced_key is not None:
            lease = await self._leases.lease_for(self._synced_key)
            timestamp = self._now().isoformat(timespec="seconds").replace("+00:00", "Z")
            try:
                await self._backend.put(self._synced_key, timestamp.encode(), lease=lease)
            except LeaseLostError as error:
                raise await self._after_lost({lease}, error) from error
        self._is_announced = True
        self.synced.set()

    def _lost(self, keys: list[bytes]) -> None:
        start = len(self._prefix)
        self._ledger.lost(key[start:] for key in keys if key.startswith(self._prefix))
        if self._synced_key in keys:
            self._is_announced = False
        self._work.set()

    def _noted(self, error: KVStoreError) -> float:
        """Count and log a failure; the seconds to wait."""
        self._errors += 1
        self._last_error = str(error)
        delay = self._backoff.next()
        log.warning("storing below %r failed, again in %.1f s: %s", self._prefix, delay, error)
        return delay


def _clock() -> float:
    return asyncio.get_running_loop().time()
