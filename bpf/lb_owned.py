"""What services have of one map, by their reverse NAT ids. Pure."""

from collections.abc import Container, Iterable
from typing import Any, Generic, TypeVar

from bpf.lb_steps import Writes

T = TypeVar("T")


class Owned(Generic[T]):
    def __init__(self) -> None:
        self._held: dict[int, set[T]] = {}

    def __len__(self) -> int:
        """May be asked while a service changes elsewhere."""
        return sum(len(entries) for entries in list(self._held.values()))

    def replace(self, rev_nat: int, wanted: Iterable[Any], writes: Writes) -> None:
        """The service has these entries from now on, and no others."""
        raise NotImplementedError

    def prune(self, used: Container[int], writes: Writes) -> None:
        """Remove those of services that are no more."""
        for rev_nat in [rev_nat for rev_nat in self._held if rev_nat not in used]:
            self.replace(rev_nat, (), writes)
