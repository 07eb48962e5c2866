"""The maps of Maglev tables as one: builds what services need, plans, and writes in the plan's order.

One writer at a time is assumed, as for every map. Without a size no service has a table, and the programs
choose at random.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bpf import maglev, maglev_map, maglev_plan
from bpf.maglev import Weights
from bpf.maglev_plan import Plan
from bpf.pinned_map import PinnedMap

Entries = Mapping[bytes, bytes]
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Maglev:
    tables: PinnedMap
    slots: PinnedMap
    size: int = 0  # of maglev.SIZES; 0: random
    _written: Mapping[int, Weights] | None = field(default=None, init=False)  # None: the maps may differ

    def forget(self) -> None:
        """Look at the maps again the next time."""
        self._written = None

    def write(self, services: Mapping[int, Weights], id_of: Callable[[bytes], int]) -> int:
        """Make the maps equal to what `services` (by reverse NAT id) need. How many writes it took."""
        wanted = self._fitting(services) if self.size else {}
        if wanted == self._written:
            return 0
        self._written = None
        plan = self._plan(wanted, id_of, self.tables.dump(), self.slots.dump())
        self.slots.update(plan.parts)
        self.tables.update(plan.tables)
        self.tables.delete(plan.old_tables)
        self.slots.delete(plan.old_parts)
        self._written = wanted
        return len(plan)

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
        ids = {
            rev_nat: [id_of(value) for value in maglev.table(backends, self.size)]
            for rev_nat, backends in wanted.items()
        }
        return maglev_plan.plan(ids, tables, slots)

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
