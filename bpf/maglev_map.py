"""cilium_maglev_tables and cilium_maglev_slots: byte layouts and nothing else.

The first says which table a service has, by its reverse NAT id; the second has the tables, in parts. A
table is never changed: another one is written beside it, and then takes its place with one write. Cilium has
a map of maps instead (cilium_lb4_maglev), with one size of table compiled into its programs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bpf.layout_nat import MAGLEV_SLOTS_KEY, MAGLEV_SLOTS_VALUE, MAGLEV_TABLE_KEY, MAGLEV_TABLE_VALUE

PART = 256  # slots


@dataclass(frozen=True, slots=True)
class Table:
    number: int
    size: int


def pack_key(rev_nat: int) -> bytes:
    return MAGLEV_TABLE_KEY.pack(rev_nat.to_bytes(2, "big"), 0)


def unpack_key(raw: bytes) -> int:
    """A reverse NAT id."""
    return int.from_bytes(MAGLEV_TABLE_KEY.unpack(raw)[0], "big")


def pack_table(table: Table) -> bytes:
    return MAGLEV_TABLE_VALUE.pack(table.number, table.size)


def unpack_table(raw: bytes) -> Table:
    return Table(*MAGLEV_TABLE_VALUE.unpack(raw))


def pack_slots(number: int, ids: Sequence[int]) -> dict[bytes, bytes]:
    """The entries of a table: its parts, by key. `ids`: a backend's id for each slot."""
    return {
        key: MAGLEV_SLOTS_VALUE.pack(b"".join(n.to_bytes(4, "little") for n in ids[at : at + PART]))
        for key, at in zip(keys(Table(number, len(ids))), range(0, len(ids), PART), strict=True)
    }


def keys(table: Table) -> list[bytes]:
    """Of all of a table's parts."""
    return [MAGLEV_SLOTS_KEY.pack(table.number, part) for part in range(parts_of(table.size))]


def parts_of(size: int) -> int:
    """How many entries a table of so many slots has."""
    return -(-size // PART)


def number_of(key: bytes) -> int:
    """The table that a part is of."""
    return int(MAGLEV_SLOTS_KEY.unpack(key)[0])


def backend_at(table: Table, slot: int, parts: Mapping[bytes, bytes]) -> int | None:
    """A backend's id as the programs find it; None where the part is missing."""
    raw = parts.get(MAGLEV_SLOTS_KEY.pack(table.number, slot // PART))
    if raw is None:
        return None
    at = slot % PART * 4
    return int.from_bytes(raw[at : at + 4], "little")
