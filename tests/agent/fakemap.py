"""Kernel maps in memory that can be full, or fail, on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from agent.kernel import KernelMaps
from agent.tables import Tables
from bpf.address import Family
from bpf.errors import MapError, MapFullError
from bpf.lb_fit import Room
from bpf.lb_plan import Mirror
from bpf.lb_steps import Dumps, Step, Table
from bpf.lb_wanted import ALL_PLAIN, BackendLike, Master
from mesh.localservice import Frontend


class FakeMap:
    """Satisfies `agent.mapsync.MapTarget`. `log` has every write in order."""

    def __init__(self, name: str, log: list[tuple[str, str, bytes]], *, size: int = 10**6) -> None:
        self.name = name
        self.entries: dict[bytes, bytes] = {}
        self.size = size
        self.failing = 0
        self.on_update: Callable[[], None] | None = None  # called once, in the middle of a write
        self._log = log

    def dump(self) -> dict[bytes, bytes]:
        self._maybe_fail()
        return dict(self.entries)

    def chunks(self) -> Iterator[Iterable[tuple[bytes, bytes]]]:
        yield self.dump().items()

    def lookup(self, key: bytes) -> bytes | None:
        return self.entries.get(key)

    def update(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        self._maybe_fail()
        hook, self.on_update = self.on_update, None
        if hook is not None:
            hook()
        for done, (key, value) in enumerate(sorted(items)):
            if key not in self.entries and len(self.entries) >= self.size:
                raise MapFullError(f"{self.name} is full at {self.size} entries", done)
            self.entries[key] = value
            self._log.append((self.name, "upsert", key))

    def delete(self, keys: Iterable[bytes]) -> None:
        self._maybe_fail()
        for key in sorted(keys):
            self.entries.pop(key, None)
            self._log.append((self.name, "delete", key))

    def _maybe_fail(self) -> None:
        if self.failing > 0:
            self.failing -= 1
            raise MapError(f"{self.name} failed on purpose")


class FakeServices:
    """Satisfies `agent.servicesync.ServiceTarget`, with the real plan."""

    def __init__(self, log: list[tuple[str, str, bytes]]) -> None:
        self.maps = {table: FakeMap(table.value, log) for table in Table}
        self.maps6 = {table: FakeMap(f"{table.value}6", log) for table in Table}
        self.maps6[Table.MATCHES] = self.maps[Table.MATCHES]

    def of(self, family: Family) -> dict[Table, FakeMap]:
        return self.maps6 if family is Family.IPV6 else self.maps

    def dump(self, family: Family = Family.IPV4) -> Dumps:
        return Dumps(*(self.of(family)[table].dump() for table in Table))

    def sync(
        self,
        services: Mapping[Frontend, Sequence[BackendLike]],
        *,
        complete: bool = True,
        masters: Mapping[Frontend, Master] = ALL_PLAIN,
    ) -> int:
        return self._write(lambda mirror: mirror.plan(services, complete=complete, masters=masters))

    def change(
        self,
        changes: Mapping[Frontend, Sequence[BackendLike] | None],
        *,
        masters: Mapping[Frontend, Master] = ALL_PLAIN,
    ) -> int:
        return self._write(lambda mirror: mirror.plan_changes(changes, masters=masters))

    def room(self, family: Family = Family.IPV4) -> Room:
        maps = self.of(family)
        return Room(*(maps[t].size for t in (Table.SERVICES, Table.BACKENDS, Table.REVERSE_NAT)))

    def pressure(self) -> Mapping[str, float]:
        return {table.value: len(each.entries) / each.size for table, each in self.maps.items()}

    def _write(self, planning: Callable[[Mirror], list[Step]]) -> int:
        count = 0
        for family in Family:
            for step in planning(Mirror(self.dump(family), family)):
                table = self.of(family)[step.table]
                table.update(step.upserts)
                table.delete(step.deletes)
                count += 1
        return count


class FakeKernel:
    """All maps of one node."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str, bytes]] = []
        self.ipcache = FakeMap("ipcache", self.log)
        self.policy = FakeMap("policy", self.log)
        self.endpoints = FakeMap("endpoints", self.log)
        self.nodes = FakeMap("nodes", self.log)
        self.services = FakeServices(self.log)

    def maps(self, tables: Tables) -> KernelMaps:
        return KernelMaps(
            tables,
            ipcache=self.ipcache,
            policy=self.policy,
            endpoints=self.endpoints,
            services=self.services,
            nodes=self.nodes,
        )

    def writes(self) -> list[tuple[str, str]]:
        return [(name, action) for name, action, _ in self.log]
