"""What is exported is made to be what is wanted, name by name. Pure.

For objects that make one pair each, of others' deltas, too: services, slices, shares of services.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from clustermesh_apiserver.convert import ConvertError
from clustermesh_apiserver.object_export import Exported

Pair: TypeAlias = tuple[bytes, bytes]


class Convergence:
    """`wanted` gives the pair of a name, None for nothing to export, or raises ConvertError: the name is
    refused, which is said once until the reason changes, and has no pair. A name has one key for ever."""

    def __init__(self, wanted: Callable[[str], Pair | None]) -> None:
        self._wanted = wanted
        self._pairs: dict[str, Pair] = {}
        self._refused: dict[str, str] = {}

    def pairs(self) -> dict[bytes, bytes]:
        return dict(self._pairs.values())

    def refused(self) -> int:
        """How many of the names cannot be exported."""
        return len(self._refused)

    def converge(self, touched: Iterable[str]) -> Exported:
        """Ask again about all that a delta may have changed."""
        exported = Exported()
        for name in sorted(touched):
            before, now = self._pairs.pop(name, None), self._asked(name, exported)
            if now is not None:
                self._pairs[name] = now
                if now != before:
                    exported.changes[now[0]] = now[1]
            elif before is not None:
                exported.changes[before[0]] = None
        return exported

    def _asked(self, name: str, exported: Exported) -> Pair | None:
        known = self._refused.pop(name, None)
        try:
            return self._wanted(name)
        except ConvertError as error:
            reason = self._refused[name] = str(error)
            if reason != known:
                exported.refused[name] = reason
            return None
