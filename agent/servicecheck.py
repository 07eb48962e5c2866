"""Are the service maps of both families what the services table wants? Two answers that must agree.

The writer's own: its plan over what the maps hold would write nothing. And one that does not trust the
plan's bookkeeping: after that plan each frontend, followed through the maps as the socket programs follow it,
leads to the same flags, reverse address, backends and session affinity as in maps written from nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import NamedTuple

from agent.difference import MapState, Pair
from agent.errors import AgentError
from agent.servicemaps import frontend_of
from agent.services import Services
from agent.servicesync import ServiceSync, ServiceTarget
from bpf import affinity_map, lb_map, source_range_map, spec
from bpf.address import Family, family
from bpf.lb_backends import BACKEND_IDS
from bpf.lb_lists import is_group
from bpf.lb_plan import Mirror
from bpf.lb_steps import Dumps, Step, Table
from bpf.lb_wanted import ALL_PLAIN, BackendLike, Master, key_of
from mesh.localservice import Frontend

NAMES = {
    (Family.IPV4, Table.SERVICES): spec.LB4_SERVICES.name,
    (Family.IPV4, Table.BACKENDS): spec.LB4_BACKENDS.name,
    (Family.IPV4, Table.REVERSE_NAT): spec.LB4_REVERSE_NAT.name,
    (Family.IPV4, Table.RANGES): spec.LB4_SOURCE_RANGE.name,
    (Family.IPV6, Table.SERVICES): spec.LB6_SERVICES.name,
    (Family.IPV6, Table.BACKENDS): spec.LB6_BACKENDS.name,
    (Family.IPV6, Table.REVERSE_NAT): spec.LB6_REVERSE_NAT.name,
    (Family.IPV6, Table.RANGES): spec.LB6_SOURCE_RANGE.name,
}

Wanted = Mapping[Frontend, Sequence[BackendLike]]
Masters = Mapping[Frontend, Master]
_Maps = dict[Table, dict[bytes, bytes]]


class Meaning(NamedTuple):
    """What a frontend's entries say, without the numbers that the writer chooses."""

    master: lb_map.ServiceValue
    reverse: bytes | None
    slots: frozenset[tuple[object, int]]  # what a slot says and leads to; how often
    matched: frozenset[bytes | None] = frozenset()  # the backends that may keep clients
    networks: frozenset[str] = frozenset()  # that it is for


class ServiceCheck:
    """Satisfies `agent.tablecheck.Check`."""

    def __init__(
        self,
        services: Services,
        sync: ServiceSync,
        target: ServiceTarget,
    ) -> None:
        self._services = services
        self._sync = sync
        self._target = target

    async def look(self) -> list[MapState]:
        return await self.confirm(())

    async def confirm(self, seen: Sequence[MapState]) -> list[MapState]:
        """All of it again: the maps are small, and their entries mean nothing alone."""
        known = self._services
        wanted, masters = self._sync.writable(), dict(known.masters.entries)
        moving = known.wanted.dirty_keys() | known.masters.dirty_keys()
        try:
            return await asyncio.to_thread(_states, self._target, wanted, masters, moving)
        except ValueError as error:
            raise AgentError(f"a service cannot be said in the maps' layout: {error}") from error


def _states(target: ServiceTarget, wanted: Wanted, masters: Masters, moving: Set[Frontend]) -> list[MapState]:
    states: list[MapState] = []
    matches = MapState(spec.LB_AFFINITY_MATCH.name, 0, 0)  # one map for both
    for of in Family:
        dumps = target.dump(of)
        mine = {frontend for frontend in moving if family(frontend.ip) is of}
        found, sizes = differing(dumps, wanted, mine, masters, of=of)
        held = _tables(dumps)
        keys = frozenset(key for frontend in mine if (key := _master(frontend)))
        for table in Table:
            if (of, table) not in NAMES:
                continue
            now = keys if table is Table.SERVICES else frozenset()
            states.append(MapState(NAMES[of, table], sizes[table], len(held[table]), found[table], now))
        matches = replace(
            matches,
            wanted=matches.wanted + sizes[Table.MATCHES],
            held=len(dumps.matches),
            differing={**matches.differing, **found[Table.MATCHES]},
        )
    return [*states, matches]


def differing(
    dumps: Dumps,
    wanted: Wanted,
    moving: Set[Frontend] = frozenset(),
    masters: Masters = ALL_PLAIN,
    *,
    of: Family = Family.IPV4,
) -> tuple[dict[Table, dict[bytes, Pair]], dict[Table, int]]:
    """Entries of one family that differ, and how many are wanted, by map. Frontends that are `moving` are
    left out; while there are some, entries that nothing leads to are not told."""
    steady = {frontend: backends for frontend, backends in wanted.items() if frontend not in moving}
    held = _tables(dumps)
    steps = _planned(dumps, steady, masters, moving, of)
    found: dict[Table, dict[bytes, Pair]] = {table: {} for table in Table}
    for step in steps:
        table = held[step.table]
        found[step.table] |= {key: Pair(value, table.get(key)) for key, value in step.upserts}
        found[step.table] |= {key: Pair(None, table[key]) for key in step.deletes if key in table}
    fresh = _written({}, Mirror(of=of).plan(wanted, masters=masters))
    right, mended = meanings(_dumps(fresh), of), meanings(_dumps(_written(held, steps)), of)
    for key in filter(None, map(_master, steady)):
        if right.get(key) != mended.get(key):  # the writer does not see it
            found[Table.SERVICES][key] = Pair(fresh[Table.SERVICES].get(key), dumps.services.get(key))
    return found, {table: len(entries) for table, entries in fresh.items()}


def _planned(dumps: Dumps, wanted: Wanted, masters: Masters, moving: Set[Frontend], of: Family) -> list[Step]:
    """What the writer would write."""
    mirror = Mirror(dumps, of)
    if not moving:
        return mirror.plan(wanted, masters=masters)
    known = {frontend_of(key) for key in _masters(dumps.services)} - moving - wanted.keys()
    unwanted = [frontend for frontend in known if _master(frontend)]
    changes = {**wanted, **dict.fromkeys(unwanted)}
    return mirror.plan_changes(changes, masters=masters)


def meanings(dumps: Dumps, of: Family = Family.IPV4) -> dict[bytes, Meaning]:
    """By master entry's key; only services, not the groups that they name. Of the matches those count whose
    backends are of the family."""
    matched: dict[int, set[bytes | None]] = {}
    for number, rev_nat in map(affinity_map.unpack_match, dumps.matches):
        if number in BACKEND_IDS[of]:
            matched.setdefault(rev_nat, set()).add(dumps.backends.get(lb_map.pack_backend_id(number)))
    networks: dict[int, set[str]] = {}
    for each in map(source_range_map.unpack_key, dumps.ranges):
        networks.setdefault(each.rev_nat, set()).add(each.network)
    found = {}
    for key in _masters(dumps.services):
        rev_nat = lb_map.unpack_service_value(dumps.services[key]).rev_nat
        found[key] = _meaning(key, dumps)._replace(
            matched=frozenset(matched.get(rev_nat, ())), networks=frozenset(networks.get(rev_nat, ()))
        )
    return found


def _meaning(key: bytes, dumps: Dumps) -> Meaning:
    master = lb_map.unpack_service_value(dumps.services[key])
    slots: Counter[object] = Counter()
    for number in range(1, master.count + 1):
        raw = dumps.services.get(lb_map.with_slot(key, number))
        slots[None if raw is None else _slot(key, raw, master.rev_nat, dumps)] += 1
    reverse = dumps.reverse_nat.get(lb_map.pack_rev_nat_id(master.rev_nat))
    return Meaning(replace(master, rev_nat=0), reverse, frozenset(slots.items()))


def _slot(key: bytes, raw: bytes, rev_nat: int, dumps: Dumps) -> object:
    """`rev_nat`: the master's. Another one may lead to the same address now, and to nothing later."""
    value = lb_map.unpack_service_value(raw)
    said = replace(value, rev_nat=0, group=0) if value.group else replace(value, rev_nat=0, backend_id=0)
    reverse = value.rev_nat == rev_nat
    if not value.group:
        return said, reverse, dumps.backends.get(lb_map.pack_backend_id(value.backend_id))
    is_group = value.group in lb_map.GROUP_SCOPES and lb_map.scope_of(key) == lb_map.SCOPE_EXTERNAL
    group = lb_map.with_scope(key, value.group) if is_group else b""
    return said, reverse, _meaning(group, dumps) if group in dumps.services else None


def _masters(services: Mapping[bytes, bytes]) -> list[bytes]:
    return [key for key in services if lb_map.with_slot(key, 0) == key and not is_group(key)]


def _written(maps: Mapping[Table, Mapping[bytes, bytes]], steps: Sequence[Step]) -> _Maps:
    """The maps after these steps."""
    result: _Maps = {table: dict(maps.get(table, {})) for table in Table}
    for step in steps:
        result[step.table].update(step.upserts)
        for key in step.deletes:
            result[step.table].pop(key, None)
    return result


def _master(frontend: Frontend) -> bytes | None:
    try:
        return key_of(frontend)
    except ValueError:
        return None


def _tables(dumps: Dumps) -> dict[Table, Mapping[bytes, bytes]]:
    return {table: getattr(dumps, table.value) for table in Table}


def _dumps(tables: Mapping[Table, Mapping[bytes, bytes]]) -> Dumps:
    return Dumps(**{table.value: entries for table, entries in tables.items()})
