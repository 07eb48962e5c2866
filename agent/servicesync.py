"""The services table and the kernel maps that a service is made of.

`bpf.lb_plan` decides the writes; this file says what is wanted, and looks at the maps again
after a failure.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from agent.desired import Desired
from agent.mapsync import MAX_REPORTED, THREAD_FROM, SyncError
from agent.servicemaps import backends_of
from bpf import lb_map
from bpf.address import Family, family
from bpf.errors import MapError, MapFullError
from bpf.lb_fit import Room, fit
from bpf.lb_steps import Dumps
from bpf.lb_wanted import ALL_PLAIN, PLAIN, BackendLike, Master
from mesh.localservice import Frontend
from mesh.matching import Backend

log = logging.getLogger(__name__)


class ServiceTarget(Protocol):
    """`bpf.services.ServiceMaps`."""

    def dump(self, family: Family = ...) -> Dumps: ...
    def sync(
        self,
        services: Mapping[Frontend, Sequence[BackendLike]],
        *,
        complete: bool = True,
        masters: Mapping[Frontend, Master] = ALL_PLAIN,
    ) -> int: ...
    def change(
        self,
        changes: Mapping[Frontend, Sequence[BackendLike] | None],
        *,
        masters: Mapping[Frontend, Master] = ALL_PLAIN,
    ) -> int: ...
    def pressure(self) -> Mapping[str, float]: ...
    def room(self, family: Family = ...) -> Room: ...


class ServiceSync:
    """Everything happens in `upsert`: the plan puts its removals where they belong."""

    def __init__(
        self,
        wanted: Desired[Frontend, tuple[Backend, ...]],
        masters: Desired[Frontend, Master],
        target: ServiceTarget,
    ) -> None:
        self._wanted = wanted
        self._masters = masters
        self._target = target
        self._must_compare = True
        self._full = ""  # why not all fits
        self._unfit = 0
        self._is_due = False
        self._must_filter = False
        self._misfits: set[Frontend] = set()

    def __len__(self) -> int:
        return len(self._wanted.entries)

    @property
    def unfit(self) -> int:
        """Backends without room, as often as services have them; a service without room counts one more."""
        return self._unfit

    def retry(self) -> None:
        self._is_due = True

    async def compare(self) -> None:
        self._must_compare = self._is_due = True

    def take(self) -> None:
        """Done by `upsert`: no other table depends on this one's order."""

    async def upsert(self) -> None:
        if self._full and not self._is_due:
            raise SyncError(self._full)
        self._is_due = False
        try:
            if self._full:
                await self._fill()
            elif self._must_compare:
                await self._sync()
            else:
                await self._change()
        except MapFullError as error:
            self._must_compare = self._is_due = True
            self._full = str(error)
            raise SyncError(self._full) from error
        except MapError as error:
            self._must_compare = self._is_due = True
            raise SyncError(str(error)) from error
        except ValueError as error:  # a backend that no map can hold: leave it out the next time
            self._must_compare = self._must_filter = self._is_due = True
            raise SyncError(str(error)) from error
        self._must_compare = bool(self._full)
        if self._full:
            raise SyncError(f"{self._full}; {self._unfit} backends are missing")

    async def remove(self) -> None:
        """Done by `upsert`."""

    async def _sync(self) -> None:
        self._take_dirty()
        self._misfits.clear()
        wanted, masters = self.writable(), dict(self._masters.entries)
        await asyncio.to_thread(self._target.sync, wanted, masters=masters)

    async def _fill(self) -> None:
        """As much as there is room for. What nobody wants goes first: it makes the room."""
        self._take_dirty()
        self._misfits.clear()
        wanted = self.writable()
        chosen = await asyncio.to_thread(_fill, self._target, wanted, dict(self._masters.entries))
        self._unfit = sum(len(b) - len(chosen[f]) if f in chosen else len(b) + 1 for f, b in wanted.items())
        if not self._unfit:
            self._full = ""

    def writable(self) -> dict[Frontend, Sequence[BackendLike]]:
        """Of everything that is wanted what the maps can say."""
        entries = self._wanted.entries
        return {f: self._fitting(backends) for f, backends in entries.items() if self._fits(f)}

    async def _change(self) -> None:
        entries = self._wanted.entries
        changes: dict[Frontend, Sequence[BackendLike] | None] = {}
        masters: dict[Frontend, Master] = {}
        for frontend in self._take_dirty():
            if self._fits(frontend):
                backends = entries.get(frontend)
                changes[frontend] = None if backends is None else self._fitting(backends)
                masters[frontend] = self._masters.entries.get(frontend, PLAIN)
        small = sum(len(backends or ()) for backends in changes.values()) < THREAD_FROM
        if small and not any(
            master.flags for master in masters.values()
        ):  # a node port's table takes tens of milliseconds
            self._target.change(changes, masters=masters)
        else:
            await asyncio.to_thread(self._target.change, changes, masters=masters)

    def _take_dirty(self) -> set[Frontend]:
        return {*self._wanted.take_dirty(), *self._masters.take_dirty()}

    def _fits(self, frontend: Frontend) -> bool:
        """Unheard-of protocols have no map."""
        try:
            lb_map.pack_service(frontend.ip, frontend.port, frontend.protocol)
        except ValueError as error:
            if frontend not in self._misfits and len(self._misfits) < MAX_REPORTED:
                self._misfits.add(frontend)
                log.info("frontend %s is not programmed: %s", frontend, error)
            return False
        return True

    def _fitting(self, backends: Sequence[Backend]) -> Sequence[Backend]:
        """`mesh.merge` gives what fits; only addresses that are none slip through."""
        if not self._must_filter:
            return backends
        return [backend for backend in backends if _backend_fits(backend)]


def _fill(
    target: ServiceTarget,
    wanted: Mapping[Frontend, Sequence[BackendLike]],
    masters: Mapping[Frontend, Master],
) -> Mapping[Frontend, Sequence[BackendLike]]:
    """First only removals, then what fits; that. Raises MapError."""
    chosen: dict[Frontend, Sequence[BackendLike]] = {}
    standing: dict[Frontend, set[tuple[str, int, str, int]]] = {}
    for of in Family:
        chosen |= fit({f: backends for f, backends in wanted.items() if family(f.ip) is of}, target.room(of))
        known = backends_of(target.dump(of))
        standing |= {frontend: set(map(_place, members)) for frontend, members in known.items()}
    shrunk = {f: [b for b in chosen[f] if _place(b) in standing[f]] for f in standing if f in chosen}
    try:
        target.sync(shrunk, masters=masters)
    except MapFullError:  # shares are new and need entries of their own: those services begin anew
        target.sync(
            {f: [] if any(b.weight for b in backends) else backends for f, backends in shrunk.items()},
            masters=masters,
        )
    target.sync(chosen, masters=masters)
    return chosen


def _place(backend: BackendLike) -> tuple[str, int, str, int]:
    return backend.ip, backend.port, backend.protocol, backend.cluster_id


def _backend_fits(backend: Backend) -> bool:
    try:
        lb_map.pack_backend(backend.ip, backend.port, backend.protocol, backend.cluster_id)
    except ValueError:
        return False
    return True
