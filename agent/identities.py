"""Every identity we know and the labels behind it, whoever allocated it. Pure: no I/O, no clock.

Numbers of different clusters cannot meet (a peer's are checked against its range), so one mapping is
enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from mesh.addressing import Identity
from mesh.identity import Labels

Listener = Callable[[frozenset[Identity]], None]


class Identities:
    """number -> labels, of all clusters together and of our own."""

    def __init__(self) -> None:
        self._all: dict[Identity, Labels] = {}
        self._own: dict[Identity, Labels] = {}
        self._listeners: list[Listener] = []

    @property
    def all(self) -> Mapping[Identity, Labels]:
        return MappingProxyType(self._all)

    @property
    def own(self) -> Mapping[Identity, Labels]:
        """Those of our own cluster: what the allocator searches."""
        return MappingProxyType(self._own)

    def listen(self, listener: Listener) -> None:
        """Have `listener` called with the numbers that changed, after every change."""
        self._listeners.append(listener)

    def commit(
        self, upserts: Mapping[Identity, Labels], removes: Iterable[Identity] = (), *, own: bool = False
    ) -> None:
        changed = {number for number, labels in upserts.items() if self._all.get(number) != labels}
        gone = {number for number in removes if number in self._all and number not in upserts}
        for table in (self._all, self._own) if own else (self._all,):
            table.update(upserts)
            for number in gone:
                table.pop(number, None)
        if changed or gone:
            for listener in self._listeners:
                listener(frozenset(changed | gone))
