"""Which writes turn the service maps into what is wanted, and in which order. Pure.

No connection may see a half-written service, so: backends before the slots that name
them, slots before the master entry that counts them, removals last and from the
outside in. A look-up during the writes finds the old list, the new one, or a mixture
of both, but never a slot without its backend.

Ids are recovered from the maps, so a restart changes nothing: a backend keeps its id
while any service uses it, a frontend its reverse NAT id, and a backend its slot where
possible. One endpoint's change in a long list costs a few writes, not a rewritten list.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain, zip_longest
from typing import Protocol, Self, TypeVar

from bpf import lb_map
from bpf.errors import MapFullError

MAX_REV_NAT = 0xFFFF
MAX_BACKENDS_OF_SERVICE = 0xFFFF  # a master entry counts in 16 bits


class FrontendLike(Protocol):
    @property
    def ip(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def protocol(self) -> str: ...


class BackendLike(FrontendLike, Protocol):
    @property
    def cluster_id(self) -> int: ...


F = TypeVar("F", bound=FrontendLike)


class Table(Enum):
    SERVICES = "services"
    BACKENDS = "backends"
    REVERSE_NAT = "reverse_nat"


@dataclass(frozen=True, slots=True)
class Step:
    """Writes to one map; all of a step's writes may happen in any order."""

    table: Table
    upserts: tuple[tuple[bytes, bytes], ...] = ()
    deletes: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Dumps:
    """The three maps as they stand."""

    services: Mapping[bytes, bytes] = field(default_factory=dict)
    backends: Mapping[bytes, bytes] = field(default_factory=dict)
    reverse_nat: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class _Held:
    rev_nat: int
    slots: list[int]  # backend ids; 0 where a slot is missing


def plan(services: Mapping[F, Sequence[BackendLike]], current: Dumps, *, complete: bool = True) -> list[Step]:
    """Everything wanted against everything that stands. Not `complete`: nothing is removed
    that is merely unknown to the caller."""
    return Mirror.recover(current).plan(services, complete=complete)


class Mirror:
    """What the maps hold, by meaning. `plan` assumes that its steps will be carried out;
    if they are not, throw the mirror away and recover it from the maps."""

    def __init__(self) -> None:
        self._held: dict[bytes, _Held] = {}
        self._id_of: dict[bytes, int] = {}  # a backend's packed value -> its id
        self._value_of: dict[int, bytes] = {}
        self._users: Counter[int] = Counter()
        self._rev_nats: dict[int, bytes] = {}
        self._orphans: list[bytes] = []  # service entries that no master counts
        self._next_id = 1
        self._next_rev_nat = 1

    @classmethod
    def recover(cls, dumps: Dumps) -> Self:
        mirror = cls()
        for key, value in sorted(dumps.backends.items()):
            number = lb_map.unpack_backend_id(key)
            mirror._value_of[number] = value
            if number:  # 0 is no backend: a master entry has it
                mirror._id_of.setdefault(value, number)
        mirror._next_id = max(mirror._value_of, default=0) + 1
        mirror._rev_nats = {lb_map.unpack_rev_nat_id(k): v for k, v in dumps.reverse_nat.items()}
        mirror._recover_services(dumps.services)
        return mirror

    def _recover_services(self, entries: Mapping[bytes, bytes]) -> None:
        counted = set()
        for key, raw in entries.items():
            if lb_map.with_slot(key, 0) != key:
                continue
            value = lb_map.unpack_service_value(raw)
            slots = [lb_map.with_slot(key, slot) for slot in range(1, value.count + 1)]
            ids = [lb_map.unpack_service_value(entries[s]).backend_id if s in entries else 0 for s in slots]
            self._held[key] = _Held(value.rev_nat, ids)
            self._users.update(ids)
            self._rev_nats.setdefault(value.rev_nat, b"")  # taken, though the map lacks it
            counted.update([key, *slots])
        self._orphans = [key for key in entries if key not in counted]

    def plan(self, services: Mapping[F, Sequence[BackendLike]], *, complete: bool = True) -> list[Step]:
        """All services: those that are not given go, if the picture is complete."""
        changes: dict[bytes, list[bytes] | None] = {_master(f): _values(b) for f, b in services.items()}
        if complete:
            changes |= dict.fromkeys(self._held.keys() - changes.keys())
        return self._plan(changes, prune=complete)

    def plan_changes(self, changes: Mapping[F, Sequence[BackendLike] | None]) -> list[Step]:
        """Only these services; None removes one."""
        return self._plan({_master(f): None if b is None else _values(b) for f, b in changes.items()})

    def _plan(self, changes: Mapping[bytes, list[bytes] | None], *, prune: bool = False) -> list[Step]:
        writes = _Writes()
        for key, values in changes.items():
            if values is None:
                self._remove(key, writes)
            else:
                self._upsert(key, values, writes)
        if prune:
            self._prune(writes)
        self._release_backends(writes)
        return writes.steps()

    def _upsert(self, key: bytes, values: list[bytes], writes: "_Writes") -> None:
        if len(values) > MAX_BACKENDS_OF_SERVICE:
            raise MapFullError(f"a service can have {MAX_BACKENDS_OF_SERVICE} backends, not {len(values)}")
        held = self._held.get(key)
        old = held.slots if held else []
        slots = arrange(old, [self._backend(value, writes) for value in values])
        rev_nat = self._rev_nat(key, held, writes)
        moved = held is None or held.rev_nat != rev_nat
        for slot, number in enumerate(slots, 1):
            if moved or slot > len(old) or old[slot - 1] != number:
                entry = lb_map.pack_service_value(number, rev_nat=rev_nat)
                writes.slots.append((lb_map.with_slot(key, slot), entry))
        if moved or len(old) != len(slots):
            writes.masters.append((key, lb_map.pack_service_value(count=len(slots), rev_nat=rev_nat)))
        writes.old_slots += [lb_map.with_slot(key, n) for n in range(len(slots) + 1, len(old) + 1)]
        self._count(old, slots, writes)
        self._held[key] = _Held(rev_nat, slots)

    def _remove(self, key: bytes, writes: "_Writes") -> None:
        held = self._held.pop(key, None)
        if held is None:
            return
        writes.old_masters.append(key)
        writes.old_slots += [lb_map.with_slot(key, n) for n in range(1, len(held.slots) + 1)]
        self._count(held.slots, [], writes)
        if self._rev_nats.get(held.rev_nat) == _frontend(key):
            del self._rev_nats[held.rev_nat]
            writes.old_rev_nats.append(lb_map.pack_rev_nat_id(held.rev_nat))

    def _backend(self, value: bytes, writes: "_Writes") -> int:
        number = self._id_of.get(value)
        if number is None:
            number = self._free_id()
            self._id_of[value], self._value_of[number] = number, value
            writes.backends.append((lb_map.pack_backend_id(number), value))
        return number

    def _free_id(self) -> int:
        # onwards, not the lowest: a freed id is not given to another backend while an
        # old slot might still be read
        numbers = chain(range(self._next_id, 2**32), range(1, 2**32))
        number = next(n for n in numbers if n not in self._value_of)
        self._next_id = number + 1
        return number

    def _rev_nat(self, key: bytes, held: _Held | None, writes: "_Writes") -> int:
        frontend = _frontend(key)
        if held and self._rev_nats.get(held.rev_nat) == frontend:
            return held.rev_nat
        # the map does not confirm the old one: it may be another frontend's by now
        numbers = chain(range(self._next_rev_nat, MAX_REV_NAT + 1), range(1, self._next_rev_nat))
        number = next((n for n in numbers if n not in self._rev_nats), 0)
        if not number:
            raise MapFullError(f"all {MAX_REV_NAT} reverse NAT ids are in use")
        self._next_rev_nat = number + 1
        self._rev_nats[number] = frontend
        writes.rev_nats.append((lb_map.pack_rev_nat_id(number), frontend))
        return number

    def _count(self, old: Iterable[int], new: Iterable[int], writes: "_Writes") -> None:
        for before, after in zip_longest(old, new, fillvalue=0):
            if before == after:  # nearly all, when a long list changes a little
                continue
            self._users[after] += 1
            self._users[before] -= 1
            if not self._users[before]:
                writes.unused.add(before)

    def _release_backends(self, writes: "_Writes") -> None:
        for number in writes.unused:
            if self._users[number]:  # another service, or another slot, took it up
                continue
            del self._users[number]
            if number in self._value_of:
                value = self._value_of.pop(number)
                if self._id_of.get(value) == number:
                    del self._id_of[value]
                writes.old_backends.append(lb_map.pack_backend_id(number))

    def _prune(self, writes: "_Writes") -> None:
        """What a crash may have left: entries that nothing leads to."""
        rewritten = {key for key, _ in writes.slots}
        writes.old_slots += [key for key in self._orphans if key not in rewritten]
        self._orphans = []
        used = {held.rev_nat for held in self._held.values()}
        for number in self._rev_nats.keys() - used:
            del self._rev_nats[number]
            writes.old_rev_nats.append(lb_map.pack_rev_nat_id(number))
        writes.unused |= {number for number in self._value_of if not self._users[number]}


@dataclass(slots=True)
class _Writes:
    """Writes by kind, collected service by service."""

    backends: list[tuple[bytes, bytes]] = field(default_factory=list)
    rev_nats: list[tuple[bytes, bytes]] = field(default_factory=list)
    slots: list[tuple[bytes, bytes]] = field(default_factory=list)
    masters: list[tuple[bytes, bytes]] = field(default_factory=list)
    old_masters: list[bytes] = field(default_factory=list)
    old_slots: list[bytes] = field(default_factory=list)
    old_rev_nats: list[bytes] = field(default_factory=list)
    old_backends: list[bytes] = field(default_factory=list)
    unused: set[int] = field(default_factory=set)

    def steps(self) -> list[Step]:
        ordered = [
            Step(Table.BACKENDS, upserts=tuple(self.backends)),
            Step(Table.REVERSE_NAT, upserts=tuple(self.rev_nats)),
            Step(Table.SERVICES, upserts=tuple(self.slots)),
            Step(Table.SERVICES, upserts=tuple(self.masters)),
            Step(Table.SERVICES, deletes=tuple(self.old_masters)),
            Step(Table.SERVICES, deletes=tuple(self.old_slots)),
            Step(Table.REVERSE_NAT, deletes=tuple(self.old_rev_nats)),
            Step(Table.BACKENDS, deletes=tuple(self.old_backends)),
        ]
        return [step for step in ordered if step.upserts or step.deletes]


def arrange(current: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """Wanted ids in slots, each where it is if it can stay there."""
    missing = set(wanted)
    slots = []
    for number in current[: len(wanted)]:
        keep = number in missing
        slots.append(number if keep else 0)
        missing.discard(number)
    slots += [0] * (len(wanted) - len(slots))
    newcomers = iter([number for number in wanted if number in missing])
    return [number or next(newcomers) for number in slots]


def _master(frontend: FrontendLike) -> bytes:
    return lb_map.pack_service(frontend.ip, frontend.port, frontend.protocol)


def _frontend(key: bytes) -> bytes:
    service = lb_map.unpack_service(key)
    return lb_map.pack_rev_nat(service.ip, service.port)


def _values(backends: Sequence[BackendLike]) -> list[bytes]:
    """Packed, each once: a backend given twice gets no double share."""
    return list(dict.fromkeys(lb_map.pack_backend(b.ip, b.port, b.protocol, b.cluster_id) for b in backends))
