"""The ids of one family's backends: who has which, and how many slots name it. Pure.

Ids are recovered from the map: a backend keeps its id while any service uses it. The two families' ids never
meet, since one map of matches names the backends of both.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain

from bpf import lb_map
from bpf.address import Family
from bpf.lb_steps import Writes

BACKEND_IDS = {Family.IPV4: range(1, 1 << 31), Family.IPV6: range(1 << 31, 1 << 32)}


class Backends:
    """`entries`: the map as it stands. Slots that name a group are counted too, by a negative number."""

    def __init__(self, family: Family, entries: Mapping[bytes, bytes]) -> None:
        self._family = family
        self._numbers = BACKEND_IDS[family]
        self._id_of: dict[bytes, int] = {}  # a backend's packed value -> its id
        self._value_of: dict[int, bytes] = {}
        self._users: Counter[int] = Counter()
        self._unused: set[int] = set()  # that lost a user since the last `release`
        for key, value in sorted(entries.items()):
            number = lb_map.unpack_backend_id(key)
            self._value_of[number] = value
            if number:  # 0 is no backend: a master entry has it
                self._id_of.setdefault(value, number)
        self._next = max(max(self._value_of, default=0) + 1, self._numbers.start)

    def __len__(self) -> int:
        return len(self._value_of)

    def id_of(self, value: bytes) -> int:
        return self._id_of[value]

    def ids(self, values: list[bytes], writes: Writes) -> list[int]:
        """Of packed backends, as often as each is given; who has none gets one.

        ValueError for a backend of the other family.
        """
        for value in values:
            if value not in self._id_of:
                self._add(value, writes)
        return [self._id_of[value] for value in values]

    def values(self, ids: Iterable[int]) -> list[bytes]:
        """Of those that stand in the map."""
        return [self._value_of[number] for number in ids if number in self._value_of]

    def _add(self, value: bytes, writes: Writes) -> None:
        if lb_map.backend_family(value) is not self._family:
            raise ValueError(f"a frontend has a backend of another family: {lb_map.unpack_backend(value).ip}")
        number = self._free()
        self._id_of[value], self._value_of[number] = number, value
        writes.backends.append((lb_map.pack_backend_id(number), value))

    def _free(self) -> int:
        # onwards, not the lowest: a freed id is not given to another backend while an
        # old slot might still be read
        numbers = chain(range(self._next, self._numbers.stop), self._numbers)
        number = next(n for n in numbers if n not in self._value_of)
        self._next = number + 1
        return number

    def count(self, old: Iterable[int], new: Iterable[int]) -> None:
        """Slots named `old` and name `new` now."""
        self._users.update(new)
        for before in old:
            self._users[before] -= 1
            if not self._users[before]:
                self._unused.add(before)

    def release(self, writes: Writes) -> None:
        """Remove those that no slot names any more."""
        for number in self._unused:
            if self._users[number]:  # another service, or another slot, took it up
                continue
            del self._users[number]
            if number in self._value_of:
                value = self._value_of.pop(number)
                if self._id_of.get(value) == number:
                    del self._id_of[value]
                writes.old_backends.append(lb_map.pack_backend_id(number))
        self._unused.clear()

    def prune(self) -> None:
        """The next `release` also removes those that no slot ever named."""
        self._unused |= {number for number in self._value_of if not self._users[number]}
