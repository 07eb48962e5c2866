"""The lists of one family's services map: a master entry each, and the slots that it counts. Pure.

A service has a list, a group has one under the same address and port in a scope of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bpf import lb_map, lb_slots
from bpf.errors import MapFullError
from bpf.lb_backends import Backends
from bpf.lb_steps import Writes
from bpf.lb_wanted import PLAIN, Master

MAX_BACKENDS_OF_SERVICE = 0xFFFF  # a master entry counts in 16 bits


@dataclass(slots=True)
class Held:
    rev_nat: int
    slots: list[int]  # numbers as in `lb_slots`
    sticky: int = 0
    flags: int = 0


class Lists:
    """`entries`: the map as it stands. Tells `backends` whom slots name."""

    def __init__(self, entries: Mapping[bytes, bytes], backends: Backends) -> None:
        self._backends = backends
        self.held: dict[bytes, Held] = {}  # by a master entry's key
        counted = set()
        for key, raw in entries.items():
            if lb_map.with_slot(key, 0) != key:
                continue
            value = lb_map.unpack_service_value(raw)
            slots = [lb_map.with_slot(key, slot) for slot in range(1, value.count + 1)]
            ids = [lb_slots.unpack(entries[s]) if s in entries else 0 for s in slots]
            flags = lb_map.master_flags(raw)
            self.held[key] = Held(value.rev_nat, ids, value.sticky, flags)
            backends.count((), ids)
            counted.update([key, *slots])
        self._orphans = [key for key in entries if key not in counted]  # that no master counts

    def __len__(self) -> int:
        """How many entries there are. May be asked while a list changes elsewhere."""
        return sum(len(held.slots) + 1 for held in list(self.held.values()))

    def groups(self) -> Iterator[tuple[bytes, Held]]:
        return ((key, held) for key, held in self.held.items() if is_group(key))

    def fill(self, key: bytes, ids: list[int], rev_nat: int, writes: Writes, master: Master = PLAIN) -> None:
        """The list under `key` becomes `ids`. MapFullError for more than a master entry can count."""
        if len(ids) > MAX_BACKENDS_OF_SERVICE:
            raise MapFullError(f"a service can have {MAX_BACKENDS_OF_SERVICE} backends, not {len(ids)}")
        held = self.held.get(key)
        old = held.slots if held else []
        slots = lb_slots.arrange(old, ids)
        moved = held is None or held.rev_nat != rev_nat
        kept = 0 if moved else min(len(old), len(slots))
        differ = [at for at in range(kept) if old[at] != slots[at]] if old != slots or moved else []
        into = writes.group_slots if slots and slots[0] < 0 else writes.slots
        for at in [*differ, *range(kept, len(slots))]:
            into.append((lb_map.with_slot(key, at + 1), lb_slots.pack(slots[at], rev_nat)))
        if (
            moved
            or held is None
            or (len(old), held.sticky, held.flags) != (len(slots), master.sticky, master.flags)
        ):
            masters = writes.group_masters if is_group(key) else writes.masters
            masters.append((key, lb_map.pack_master(len(slots), rev_nat, master.sticky, master.flags)))
        writes.old_slots += [lb_map.with_slot(key, n) for n in range(len(slots) + 1, len(old) + 1)]
        changed = [old[at] for at in differ], [slots[at] for at in differ]
        self._backends.count(changed[0] + old[kept:], changed[1] + slots[kept:])
        self.held[key] = Held(rev_nat, slots, master.sticky, master.flags)

    def remove(self, key: bytes, writes: Writes) -> Held | None:
        """What it was; None if there is no such list."""
        held = self.held.pop(key, None)
        if held is not None:
            # a group's master leads nobody once no slot names it
            masters = writes.old_slots if is_group(key) else writes.old_masters
            masters.append(key)
            writes.old_slots += [lb_map.with_slot(key, n) for n in range(1, len(held.slots) + 1)]
            self._backends.count(held.slots, ())
        return held

    def prune(self, writes: Writes) -> None:
        """Remove entries that no master counts; those that were written again stay."""
        rewritten = {key for key, _ in (*writes.slots, *writes.group_slots)}
        writes.old_slots += [key for key in self._orphans if key not in rewritten]
        self._orphans = []


def is_group(key: bytes) -> bool:
    return lb_map.scope_of(key) in lb_map.GROUP_SCOPES
