"""Are the maps of Maglev tables what the services maps call for? agent.servicecheck asks for those.

The answer is the writer's own: its plan over what the maps hold would write nothing. A table of which a part
is wrong is told whole, as it would be written: another one in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from agent.difference import MapState, Pair
from bpf import spec
from bpf.address import Family
from bpf.maglev_plan import Plan

Entries = Mapping[bytes, bytes]
_NAMES = {
    Family.IPV4: (spec.MAGLEV_TABLES.name, spec.MAGLEV_SLOTS.name),
    Family.IPV6: (spec.MAGLEV6_TABLES.name, spec.MAGLEV6_SLOTS.name),
}


class MaglevTarget(Protocol):
    """`bpf.services.ServiceMaps`."""

    def maglev_plan(self, family: Family = ...) -> tuple[Plan, Entries, Entries]:
        """What is to be written, and what both maps of the family hold. Blocking. Raises MapError."""


class MaglevCheck:
    """Satisfies `agent.tablecheck.Check`."""

    def __init__(self, target: MaglevTarget) -> None:
        self._target = target

    async def look(self) -> list[MapState]:
        return await self.confirm(())

    async def confirm(self, seen: Sequence[MapState]) -> list[MapState]:
        states = []
        for of, (table, slots) in _NAMES.items():
            plan, tables, parts = await asyncio.to_thread(self._target.maglev_plan, of)
            states += [
                _state(table, tables, dict(plan.tables), plan.old_tables),
                _state(slots, parts, dict(plan.parts), plan.old_parts),
            ]
        return states


def _state(name: str, held: Entries, new: Entries, old: Sequence[bytes]) -> MapState:
    differing = {key: Pair(None, held[key]) for key in old}
    differing |= {key: Pair(value, held.get(key)) for key, value in new.items()}
    return MapState(name, len(held.keys() - set(old) | new.keys()), len(held), differing)
