"""The service maps of both families as one: reads them, plans, and writes in the plans' order."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from bpf.address import Family
from bpf.errors import MapError
from bpf.lb_fit import Room
from bpf.lb_plan import Mirror
from bpf.lb_steps import Dumps, Step, Table
from bpf.lb_wanted import ALL_PLAIN, BackendLike, F, Master
from bpf.maglev_plan import Plan
from bpf.maglev_tables import Maglev
from bpf.pinned_map import PinnedMap


@dataclass(slots=True)
class ServiceMaps:
    """One writer at a time is assumed, as for every map. A frontend's address says in which maps it stands;
    its backends are of its family."""

    services: PinnedMap
    backends: PinnedMap
    reverse_nat: PinnedMap
    matches: PinnedMap  # of both families
    affinity: PinnedMap  # the programs' own, to be shown: what it says of clients is theirs to change
    services6: PinnedMap
    backends6: PinnedMap
    reverse_nat6: PinnedMap
    affinity6: PinnedMap
    maglev: Maglev
    ranges: PinnedMap
    maglev6: Maglev
    ranges6: PinnedMap
    _mirrors: dict[Family, Mirror] = field(default_factory=dict, init=False)
    _sizes: dict[Family, dict[Table, int]] = field(default_factory=dict, init=False)

    def dump(self, family: Family = Family.IPV4) -> Dumps:
        return Dumps(*(self._table(family, table).dump() for table in Table))

    def room(self, family: Family = Family.IPV4) -> Room:
        tables = (Table.SERVICES, Table.BACKENDS, Table.REVERSE_NAT)
        return Room(*(self._table(family, table).max_entries for table in tables))

    def pressure(self) -> dict[str, float]:
        """How full each map is, as of the last write; above 1 where that did not fit."""
        self._sizes |= {family: mirror.sizes() for family, mirror in list(self._mirrors.items())}
        full: Counter[str] = Counter()
        shares: dict[str, float] = {}
        for family, sizes in self._sizes.items():
            for table, size in sizes.items():
                held = self._table(family, table)
                full[held.name] += size  # the matches twice: of each family
                shares[held.name] = full[held.name] / held.max_entries
        return shares

    def sync(
        self,
        services: Mapping[F, Sequence[BackendLike]],
        *,
        complete: bool = True,
        masters: Mapping[F, Master] = ALL_PLAIN,
    ) -> int:
        """Make the maps equal to `services`, from what the maps really hold. How many writes it took.

        Not `complete`: services that are not given stay as they are. `masters`: of frontends that are not
        plain.
        """
        self._mirrors.clear()
        for family in Family:
            self._maglev(family).forget()
        return self._carry_out(lambda mirror: mirror.plan(services, complete=complete, masters=masters))

    def change(
        self,
        changes: Mapping[F, Sequence[BackendLike] | None],
        *,
        masters: Mapping[F, Master] = ALL_PLAIN,
    ) -> int:
        """Only these services, without reading the maps again; None removes one."""
        return self._carry_out(lambda mirror: mirror.plan_changes(changes, masters=masters))

    def _carry_out(self, planning: Callable[[Mirror], list[Step]]) -> int:
        """What is wrong with one family does not hold up the other."""
        writes, failures = 0, []
        for family in Family:
            try:
                writes += self._carry_out_of(family, planning)
            except (MapError, ValueError) as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return writes

    def _carry_out_of(self, family: Family, planning: Callable[[Mirror], list[Step]]) -> int:
        # until everything is written a mirror runs ahead of the maps
        mirror = self._mirrors.pop(family, None) or Mirror(self.dump(family), family)
        writes = 0
        steps = planning(mirror)
        self._sizes[family] = mirror.sizes()
        gone = [step for step in steps if step.deletes]
        writes += self._write(family, [step for step in steps if not step.deletes])
        maglev = self._maglev(family)  # before the backends go that its tables name
        writes += maglev.write(mirror.node_ports(maglev.algorithms), mirror.id_of)
        writes += self._write(family, gone)
        self._mirrors[family] = mirror
        return writes

    def use_maglev(self, size: int, *, is_default: bool = True) -> None:
        """Tables of so many slots, from the next write on; 0: none. `is_default`: for services that do not
        say how backends are chosen."""
        for family in Family:
            maglev = self._maglev(family)
            maglev.size, maglev.is_default = size, is_default

    def maglev_plan(
        self, family: Family = Family.IPV4
    ) -> tuple[Plan, Mapping[bytes, bytes], Mapping[bytes, bytes]]:
        """What the maps of Maglev tables lack of what the services maps call for, and what they hold."""
        mirror, maglev = Mirror(self.dump(family), family), self._maglev(family)
        return maglev.planned(mirror.node_ports(maglev.algorithms), mirror.id_of)

    def _maglev(self, family: Family) -> Maglev:
        return self.maglev6 if family is Family.IPV6 else self.maglev

    def _write(self, family: Family, steps: Sequence[Step]) -> int:
        writes = 0
        for step in steps:
            table = self._table(family, step.table)
            table.update(step.upserts)
            table.delete(step.deletes)
            writes += len(step.upserts) + len(step.deletes)
        return writes

    def _table(self, family: Family, table: Table) -> PinnedMap:
        v6 = family is Family.IPV6
        match table:
            case Table.SERVICES:
                return self.services6 if v6 else self.services
            case Table.BACKENDS:
                return self.backends6 if v6 else self.backends
            case Table.REVERSE_NAT:
                return self.reverse_nat6 if v6 else self.reverse_nat
            case Table.MATCHES:
                return self.matches
            case Table.RANGES:
                return self.ranges6 if v6 else self.ranges
            case _:
                assert_never(table)

    def close(self) -> None:
        for family in Family:
            for table in Table:
                self._table(family, table).close()
            self._maglev(family).close()
        self.affinity.close()
        self.affinity6.close()
