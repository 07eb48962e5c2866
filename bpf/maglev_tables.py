"""The maps of Maglev tables as one: builds what services need, plans, and writes in the plan's order.

One writer at a time is assumed, as for every map. Without a size no service has a table, and the programs
choose at random.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bpf import maglev, maglev_map, maglev_plan
from bpf.maglev import Weights
from bpf.maglev_map import Table
from bpf.maglev_plan import Plan
from bpf.pinned_map import PinnedMap

Entries = Mapping[bytes, bytes]
MAGLEV = 2  # as a master entry says it
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Maglev:
    tables: PinnedMap
    slots: PinnedMap
    size: int = 0  # of maglev.SIZES; 0: random
    is_default: bool = True  # services that do not say how backends are chosen have a table
    _written: Mapping[int, Weights] | None = field(default=None, init=False)  # None: the maps may differ

    @property
    def algorithms(self) -> frozenset[int]:
        """What services with a table say in their master entries (lb_map.algorithm_of)."""
        if not self.size:
            return frozenset()
        return frozenset({0, MAGLEV} if self.is_default else {MAGLEV})

    def forget(self) -> None:
        """Look at the maps again the next time."""
        self._written = None

    def write(self, services: Mapping[int, Weights], id_of: Callable[[bytes], int]) -> int:
        """Make the maps equal to what `services` (by reverse NAT id) need. How many writes it took."""
        wanted = self._fitting(services) if self.size else {}
        before, self._written = self._written, None
        if before is None:
            plan = self._plan(wanted, id_of, self.tables.dump(), self.slots.dump())
        else:  # a table takes tens of milliseconds: only those that change
            touched = [r for r in wanted.keys() | before.keys() if wanted.get(r) != before.get(r)]
            changes = {rev_nat: wanted.get(rev_nat, {}) for rev_nat in touched}
            plan = maglev_plan.plan_changes(self._ids(changes, id_of), self._standing() if changes else {})
        self.slots.update(plan.parts)
        self.tables.update(plan.tables)
        self.tables.delete(plan.old_tables)
        self.slots.delete(plan.old_parts)
        self._written = wanted
        return len(plan)

    def _standing(self) -> dict[int, Table]:
        held = self.tables.dump().items()
        return {maglev_map.unpack_key(key): maglev_map.unpack_table(raw) for key, raw in held}

    def planned(
        self, services: Mapping[int, Weights], id_of: Callable[[bytes], int]
    ) -> tuple[Plan, Entries, Entries]:
        """What `write` would write, and what both maps hold."""
        tables, slots = self.tables.dump(), self.slots.dump()
        wanted = self._fitting(services) if self.size else {}
        return self._plan(wanted, id_of, tables, slots), tables, slots

    def _plan(
        self, wanted: Mapping[int, Weights], id_of: Callable[[bytes], int], tables: Entries, slots: Entries
    ) -> Plan:
        return maglev_plan.plan(self._ids(wanted, id_of), tables, slots)

    def _ids(self, services: Mapping[int, Weights], id_of: Callable[[bytes], int]) -> dict[int, list[int]]:
        """Of the backends in each table's slots."""
        return {
            rev_nat: [id_of(value) for value in maglev.table(backends, self.size)]
            for rev_nat, backends in services.items()
        }

    def _fitting(self, services: Mapping[int, Weights]) -> Mapping[int, Weights]:
        """Half of the room: a table is replaced by one beside it. Who has none is served at random."""
        room = min(self.slots.max_entries // maglev_map.parts_of(self.size) // 2, self.tables.max_entries)
        if len(services) <= room:
            return services
        log.warning(
            "%d services are without a Maglev table: there is room for %d", len(services) - room, room
        )
        return {rev_nat: services[rev_nat] for rev_nat in sorted(services)[:room]}

    def close(self) -> None:
        self.tables.close()
        self.slots.close()
