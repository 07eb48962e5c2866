"""The service maps as one: reads them, plans, and writes in the plan's order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from bpf.lb_fit import Room
from bpf.lb_plan import NO_AFFINITY, BackendLike, Dumps, F, Mirror, Step, Table
from bpf.pinned_map import PinnedMap


@dataclass(slots=True)
class ServiceMaps:
    """One writer at a time is assumed, as for every map."""

    services: PinnedMap
    backends: PinnedMap
    reverse_nat: PinnedMap
    matches: PinnedMap
    affinity: PinnedMap  # the programs' own, to be shown: what it says of clients is theirs to change
    _mirror: Mirror | None = field(default=None, init=False)
    _sizes: dict[Table, int] = field(default_factory=dict, init=False)

    def dump(self) -> Dumps:
        return Dumps(self.services.dump(), self.backends.dump(), self.reverse_nat.dump(), self.matches.dump())

    def room(self) -> Room:
        return Room(self.services.max_entries, self.backends.max_entries, self.reverse_nat.max_entries)

    def pressure(self) -> dict[str, float]:
        """How full each map is, as of the last write; above 1 where that did not fit."""
        if self._mirror is not None:
            self._sizes = self._mirror.sizes()
        maps = [(self._table(table), size) for table, size in self._sizes.items()]
        return {each.name: size / each.max_entries for each, size in maps}

    def sync(
        self,
        services: Mapping[F, Sequence[BackendLike]],
        *,
        complete: bool = True,
        sticky: Mapping[F, int] = NO_AFFINITY,
    ) -> int:
        """Make the maps equal to `services`, from what the maps really hold. How many writes it took.

        Not `complete`: services that are not given stay as they are. `sticky`: seconds that a
        client keeps its backend; services that are not in it have no session affinity.
        """
        self._mirror = None
        return self._carry_out(lambda mirror: mirror.plan(services, complete=complete, sticky=sticky))

    def change(
        self, changes: Mapping[F, Sequence[BackendLike] | None], *, sticky: Mapping[F, int] = NO_AFFINITY
    ) -> int:
        """Only these services, without reading the maps again; None removes one."""
        return self._carry_out(lambda mirror: mirror.plan_changes(changes, sticky=sticky))

    def _carry_out(self, planning: Callable[[Mirror], list[Step]]) -> int:
        mirror = self._mirror or Mirror.recover(self.dump())
        self._mirror = None  # it runs ahead of the maps until everything is written
        writes = 0
        steps = planning(mirror)
        self._sizes = mirror.sizes()
        for step in steps:
            table = self._table(step.table)
            table.update(step.upserts)
            table.delete(step.deletes)
            writes += len(step.upserts) + len(step.deletes)
        self._mirror = mirror
        return writes

    def _table(self, table: Table) -> PinnedMap:
        match table:
            case Table.SERVICES:
                return self.services
            case Table.BACKENDS:
                return self.backends
            case Table.REVERSE_NAT:
                return self.reverse_nat
            case Table.MATCHES:
                return self.matches
            case _:
                assert_never(table)

    def close(self) -> None:
        for table in (self.services, self.backends, self.reverse_nat, self.matches, self.affinity):
            table.close()
