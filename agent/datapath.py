"""Carrying the tables into the kernel, and saying how far that has got.

Promises: what is wanted is in the kernel soon after it changed, and again after every periodic compare
with what the kernel really has; entries an earlier life left are taken over before anything is written.
Upserts go before removals, and policy before the addresses that get its identities and before the
endpoints it protects: all tables of a round are of one moment. A full map or a refused entry makes the health
degraded, holds up nothing else (changes go on being written), and is tried again. Never empties anything on
shutdown: traffic goes on without us.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from agent.ipcache import IPCacheEntry
from agent.mapsync import SyncError, TableSync
from agent.policygroup import PolicyKey
from agent.tables import Tables
from aiokit.backoff import Backoff
from aiokit.health import Health
from mesh.localservice import Frontend
from mesh.matching import Backend

log = logging.getLogger(__name__)

RESYNC_SECONDS = 300.0  # a compare with the kernel although nothing seems wrong
RETRY_FIRST, RETRY_CAP = 0.2, 5.0
PAUSE_SECONDS = 0.1  # between rounds while something fails: no busy loop, and the rest goes on


class Kernel(Protocol):
    """The maps, in the agent's own terms. Upserts and removals of one table may come from a thread."""

    @property
    def tables(self) -> Mapping[str, TableSync]: ...
    def recovered_prefixes(self) -> Mapping[str, IPCacheEntry]: ...
    def recovered_backends(self) -> Mapping[Frontend, tuple[Backend, ...]]: ...
    def recovered_policy(self) -> Mapping[PolicyKey, bool]: ...
    def recovered_nodes(self) -> Mapping[str, int]: ...


# the order of upserts; removals go the other way round
IPCACHE, POLICY, ENDPOINTS, SERVICES, NODES = "ipcache", "policy", "endpoints", "services", "nodes"
ORDER = (POLICY, IPCACHE, ENDPOINTS, SERVICES, NODES)
OWN_FIRST = (POLICY, ENDPOINTS, SERVICES)  # not touched before Kubernetes is listed


class Datapath:
    """The owner of the maps. `run` is its task."""

    def __init__(
        self,
        tables: Tables,
        kernel: Kernel,
        *,
        health: Health,
        resync: float = RESYNC_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tables = tables
        self._kernel = kernel
        self._health = health
        self._resync = resync
        self._now = now
        self._backoff = Backoff(RETRY_FIRST, RETRY_CAP)
        self._retry_at = 0.0
        self._applied = dict.fromkeys(ORDER, -1)
        self._compared: dict[str, float] = {}
        self._errors: dict[str, str] = {}
        self._progress = asyncio.Event()
        self._writing = asyncio.Lock()

    def applied(self, *names: str) -> int:
        """The revision up to which the named tables (all by default) are in the kernel."""
        return min(self._applied[name] for name in names or ORDER)

    def errors(self) -> Mapping[str, str]:
        return dict(self._errors)

    @property
    def retry_seconds(self) -> float:
        """How long until what failed is tried again; 0 when nothing has."""
        return max(0.0, self._retry_at - self._now()) if self._errors else 0.0

    async def wait_applied(self, revision: int, *names: str) -> None:
        """Return once the kernel has everything up to `revision`. Bound it with a time-out."""
        while self.applied(*names) < revision:
            await self._progress.wait()

    @asynccontextmanager
    async def at_rest(self) -> AsyncGenerator[None]:
        """Nothing is written while the block runs: keep it short, the kernel falls behind meanwhile."""
        async with self._writing:
            yield

    async def run(self) -> None:
        await self._recover()
        while True:
            is_due = bool(self._errors) and self._now() >= self._retry_at
            for name in self._errors if is_due else ():
                self._kernel.tables[name].retry()
            async with self._writing:
                revision = self._tables.clock.revision
                await self._round(revision)
            if not self._errors:
                self._backoff.reset()
            elif is_due or not self._backoff.failures:
                self._retry_at = self._now() + self._backoff.next()
            await self._wait(revision, self.retry_seconds if self._errors else self._resync)

    async def _wait(self, revision: int, delay: float) -> None:
        """Until something changed or `delay` is over. After a failure changes wait for a moment."""
        if self._errors:
            await asyncio.sleep(min(delay, PAUSE_SECONDS))
            delay = max(0.0, delay - PAUSE_SECONDS)
        try:
            async with asyncio.timeout(delay):
                await self._tables.clock.wait_newer(revision)
        except TimeoutError:
            return

    async def _recover(self) -> None:
        kernel = self._kernel
        prefixes = await asyncio.to_thread(kernel.recovered_prefixes)
        backends = await asyncio.to_thread(kernel.recovered_backends)
        policy = await asyncio.to_thread(kernel.recovered_policy)
        nodes = await asyncio.to_thread(kernel.recovered_nodes)
        self._tables.recover(prefixes, backends, policy, nodes)
        log.info("taken over from the kernel: %s prefixes, %s frontends", len(prefixes), len(backends))

    async def _round(self, revision: int) -> None:
        names = [name for name in ORDER if self._tables.own_is_listed or name not in OWN_FIRST]
        failed: dict[str, str] = {}
        for name in names:
            await self._attempt(name, failed, self._prepare)
        for name in names:  # without a pause: the tables are of one moment
            self._kernel.tables[name].take()
        for name in names:
            await self._attempt(name, failed, self._upsert)
        for name in reversed(names):
            await self._attempt(name, failed, self._remove)
        for name in names:
            if name not in failed:
                self._applied[name] = revision
        self._report(failed)
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()

    async def _attempt(
        self, name: str, failed: dict[str, str], step: Callable[[str], Awaitable[None]]
    ) -> None:
        try:
            await step(name)
        except SyncError as error:
            failed.setdefault(name, str(error))

    async def _prepare(self, name: str) -> None:
        """A full compare when it is due, else only what changed."""
        if self._now() - self._compared.get(name, float("-inf")) >= self._resync:
            await self._kernel.tables[name].compare()
            self._compared[name] = self._now()

    async def _upsert(self, name: str) -> None:
        await self._kernel.tables[name].upsert()

    async def _remove(self, name: str) -> None:
        await self._kernel.tables[name].remove()

    def _report(self, failed: dict[str, str]) -> None:
        for name, text in failed.items():
            if _kind(self._errors.get(name, "")) != _kind(text):  # not for every entry more or less
                log.error("the kernel's %s table is behind: %s", name, text)
        self._errors = failed
        if failed:
            texts = [f"{name}: {text}" for name, text in failed.items()]
            self._health.degraded("the kernel is behind", "; ".join(texts))
        else:
            sizes = [f"{len(table)} {name}" for name, table in self._kernel.tables.items()]
            self._health.ok(", ".join(sizes))


def _kind(text: str) -> str:
    """An error without its counts."""
    return "".join(letter for letter in text if not letter.isdigit())
