"""The three service maps as one: reads them, plans, and writes in the plan's order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bpf.errors import MapError
from bpf.lb_plan import BackendLike, Dumps, F, Mirror, Step, Table
from bpf.pinned_map import PinnedMap


@dataclass(slots=True)
class ServiceMaps:
    """One writer at a time is assumed, as for every map."""

    services: PinnedMap
    backends: PinnedMap
    reverse_nat: PinnedMap
    _mirror: Mirror | None = field(default=None, init=False)

    def dump(self) -> Dumps:
        return Dumps(self.services.dump(), self.backends.dump(), self.reverse_nat.dump())

    def sync(self, services: Mapping[F, Sequence[BackendLike]], *, complete: bool = True) -> int:
        """Make the maps equal to `services`, from what the maps really hold. How many writes it took.

        Not `complete`: services that are not given stay as they are.
        """
        self._mirror = Mirror.recover(self.dump())
        return self._apply(self._planned().plan(services, complete=complete))

    def change(self, changes: Mapping[F, Sequence[BackendLike] | None]) -> int:
        """Only these services, without reading the maps again; None removes one."""
        return self._apply(self._planned().plan_changes(changes))

    def _planned(self) -> Mirror:
        if self._mirror is None:
            self._mirror = Mirror.recover(self.dump())
        return self._mirror

    def _apply(self, steps: Iterable[Step]) -> int:
        tables = {
            Table.SERVICES: self.services,
            Table.BACKENDS: self.backends,
            Table.REVERSE_NAT: self.reverse_nat,
        }
        writes = 0
        try:
            for step in steps:
                tables[step.table].update(step.upserts)
                tables[step.table].delete(step.deletes)
                writes += len(step.upserts) + len(step.deletes)
        except MapError:
            self._mirror = None  # it believes that everything was written
            raise
        return writes

    def close(self) -> None:
        for table in (self.services, self.backends, self.reverse_nat):
            table.close()
