"""Which writes turn the maps of Maglev tables into what is wanted, and in which order. Pure.

A new table is written whole, under a number that no standing one has; one write of a few bytes then leads to
it; only after that the old one goes. At no moment does a look-up meet half a table. A table that is right
already stays, so a restart changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bpf import maglev_map
from bpf.maglev_map import Table

Slots = Sequence[int]  # a backend's id for each slot


@dataclass(slots=True)
class Plan:
    """In the order of writing."""

    parts: list[tuple[bytes, bytes]] = field(default_factory=list)
    tables: list[tuple[bytes, bytes]] = field(default_factory=list)
    old_tables: list[bytes] = field(default_factory=list)
    old_parts: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.parts) + len(self.tables) + len(self.old_tables) + len(self.old_parts)


def plan(wanted: Mapping[int, Slots], tables: Mapping[bytes, bytes], parts: Mapping[bytes, bytes]) -> Plan:
    """`wanted`: by reverse NAT id. `tables` and `parts`: what the maps hold."""
    result = Plan()
    standing = {maglev_map.unpack_key(key): maglev_map.unpack_table(raw) for key, raw in tables.items()}
    taken = {maglev_map.number_of(key) for key in parts} | {table.number for table in standing.values()}
    kept: set[bytes] = set()
    free = (number for number in range(1, 2**32) if number not in taken)
    for rev_nat, ids in wanted.items():
        if not ids:
            continue
        held = standing.get(rev_nat)
        if held is not None:
            entries = maglev_map.pack_slots(held.number, ids)
            if held.size == len(ids) and all(parts.get(key) == raw for key, raw in entries.items()):
                kept.update(entries)
                continue
        number = next(free)
        result.parts += maglev_map.pack_slots(number, ids).items()
        result.tables.append((maglev_map.pack_key(rev_nat), maglev_map.pack_table(Table(number, len(ids)))))
    result.old_tables = [maglev_map.pack_key(rev_nat) for rev_nat in standing if not wanted.get(rev_nat)]
    result.old_parts = [key for key in parts if key not in kept]
    return result


def plan_changes(changes: Mapping[int, Slots], standing: Mapping[int, Table]) -> Plan:
    """Only these services; no slots: none any more. `standing`: every service's table; nothing else is in the
    maps."""
    result = Plan()
    number = max((table.number for table in standing.values()), default=0)
    for rev_nat, ids in changes.items():
        if ids:
            number += 1
            result.parts += maglev_map.pack_slots(number, ids).items()
            result.tables.append(
                (maglev_map.pack_key(rev_nat), maglev_map.pack_table(Table(number, len(ids))))
            )
        elif rev_nat in standing:
            result.old_tables.append(maglev_map.pack_key(rev_nat))
        if rev_nat in standing:
            result.old_parts += maglev_map.keys(standing[rev_nat])
    return result
