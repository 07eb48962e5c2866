"""Leases for many keys: granted as needed, kept alive, and reported with their keys when lost.

A writer asks `lease_for` before each put and writes a key again when it is told that the key's lease
is gone. Leaving `running` does not revoke anything: a program that restarts must not take its keys away
for as long as it takes to come back; they end with their time to live if it does not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Self

from aiokit.backoff import Backoff
from kvstore.backend import Leased
from kvstore.errors import LeaseLostError, RefusedError, TransientError

log = logging.getLogger(__name__)

OnLost = Callable[[list[bytes]], None]
DEFAULT_TTL_SECONDS = 900  # Cilium's kvstore-lease-ttl
KEYS_PER_LEASE = 1000  # etcd deletes a lease's keys in one step: this bounds how long that takes
_REFRESHES_PER_TTL = 3  # two refreshes may fail before a lease is in danger


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    leases: int
    keys: int
    lost: int


class LeasePool:
    def __init__(
        self,
        backend: Leased,
        ttl_seconds: int = DEFAULT_TTL_SECONDS,
        keys_per_lease: int = KEYS_PER_LEASE,
        *,
        on_lost: OnLost | None = None,
        backoff: Backoff | None = None,
        refresh_seconds: float | None = None,
    ) -> None:
        self._backend = backend
        self._ttl_seconds = ttl_seconds
        self._refresh_seconds = refresh_seconds or ttl_seconds / _REFRESHES_PER_TTL
        self._keys_per_lease = keys_per_lease
        self._on_lost: list[OnLost] = [on_lost] if on_lost else []
        self._backoff = backoff or Backoff(1.0, self._refresh_seconds)
        self._granting = asyncio.Lock()
        self._leases: dict[int, set[bytes]] = {}
        self._bound: dict[bytes, int] = {}
        self._roomy: dict[int, None] = {}  # leases with room, oldest first
        self._lost = 0
        self._inherited: dict[bytes, set[int]] = {}  # by whom they are needed

    def status(self) -> LeaseStatus:
        return LeaseStatus(len(self._leases), len(self._bound), self._lost)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Keep every lease alive while the block runs. Another etcd cluster ends it, with its error."""
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(self._keep_alive(), name="keep leases alive")
            try:
                yield self
            finally:
                keeper.cancel()

    @contextmanager
    def reporting_losses(self, to: OnLost) -> Iterator[None]:
        """While the block runs, `to` also hears of every lost lease: all its keys, at once."""
        self._on_lost.append(to)
        try:
            yield
        finally:
            self._on_lost.remove(to)

    def bound_to(self, key: bytes) -> int:
        """The lease that `key` holds here; 0 when it has none (yet, or any more)."""
        return self._bound.get(key, 0)

    async def lease_for(self, key: bytes) -> int:
        """The lease to write `key` with. Stays the same until it is lost or released."""
        bound = self._bound.get(key)
        if bound is not None:
            return bound
        async with self._granting:  # one grant serves all who wait here
            if not self._roomy:
                lease = await self._backend.lease_grant(self._ttl_seconds)
                self._leases[lease] = set()
                self._roomy[lease] = None
            return self._bind(key)

    def release(self, key: bytes) -> None:
        """The key was deleted: its place is free for another."""
        lease = self._bound.pop(key, None)
        if lease is not None:
            self._leases[lease].discard(key)
            self._roomy[lease] = None

    def release_below(self, prefix: bytes) -> None:
        """All keys that begin with `prefix` were deleted."""
        for key in [key for key in self._bound if key.startswith(prefix)]:
            self.release(key)

    async def inherit(self, owner: bytes, leases: Iterable[int]) -> None:
        """Keep alive these leases of an earlier life, too, which hold keys of `owner`: the store may refuse
        to take them anew for longer than they last. None: no more. Raises TransientError."""
        self._inherited[owner] = set(leases) - self._leases.keys() - {0}
        await self._refresh_inherited()

    async def check(self, leases: Iterable[int] | None = None) -> None:
        """Refresh these leases (default: all) now; lost ones are reported. Raises TransientError."""
        for lease in list(self._leases) if leases is None else list(leases):
            try:
                await self._backend.lease_keepalive(lease)
            except LeaseLostError:
                self._forget(lease)
        if leases is None:
            await self._refresh_inherited()

    async def _refresh_inherited(self) -> None:
        for lease in set().union(*self._inherited.values()):
            try:
                await self._backend.lease_keepalive(lease)
            except LeaseLostError:
                for needed in self._inherited.values():
                    needed.discard(lease)

    def _bind(self, key: bytes) -> int:
        lease = next(iter(self._roomy))
        self._bound[key] = lease
        keys = self._leases[lease]
        keys.add(key)
        if len(keys) >= self._keys_per_lease:
            del self._roomy[lease]
        return lease

    def _forget(self, lease: int) -> None:
        keys = sorted(self._leases.pop(lease, ()))
        self._roomy.pop(lease, None)
        for key in keys:
            del self._bound[key]
        self._lost += 1
        log.warning("lease %x lost with %d keys: they will be written again", lease, len(keys))
        for report in list(self._on_lost):
            report(keys)

    async def _keep_alive(self) -> None:
        delay = self._refresh_seconds
        while True:
            await asyncio.sleep(delay)
            try:
                await self.check()
            except (TransientError, RefusedError) as error:
                delay = min(self._refresh_seconds, self._backoff.next())
                log.warning("leases not refreshed, again in %.1f s: %s", delay, error)
            else:
                self._backoff.reset()
                delay = self._refresh_seconds
