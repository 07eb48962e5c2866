"""Identities of the prefixes that policies name (spec 1.4). Pure: no I/O, no clock.

They are this node's own numbers (scope 1) and never leave it: no packet, no etcd has them. A number stays
with its prefix for as long as any policy names it, and over a restart, as the kernel's ipcache tells which
had it: so neither map ever speaks of a number that the other means differently. Numbers rest before reuse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from types import MappingProxyType

from agent.errors import ExhaustedError
from mesh.addressing import WIRE_BITS, Identity
from mesh.cidr import EVERYWHERE, Network

FIRST, LAST = (1 << WIRE_BITS) + 1, (2 << WIRE_BITS) - 1


def is_local(identity: int) -> bool:
    return FIRST <= identity <= LAST


class CIDRIdentities:
    """number -> prefix. The whole world has no number here, it is `reserved:world`: except where there are
    addresses of two families (`dual_stack`), as 0.0.0.0/0 means those of IPv4 only."""

    def __init__(self, *, dual_stack: bool = False) -> None:
        self._dual_stack = dual_stack
        self._numbers: dict[Network, Identity] = {}
        self._prefixes: dict[Identity, Network] = {}
        self._adopted: dict[Network, Identity] = {}
        self._next = FIRST

    @property
    def all(self) -> Mapping[Identity, Network]:
        return MappingProxyType(self._prefixes)

    def adopt(self, found: Mapping[str, int]) -> None:
        """What an earlier life gave out. Call before the kernel is told any other number."""
        known = sorted(self._numbers, key=str)  # two families have no order
        self.commit(removes=known)
        self._adopted = {ip_network(prefix): Identity(number) for prefix, number in found.items()}
        self._next = max((self._next, *(number + 1 for number in found.values())))
        self.commit(adds=known)

    def commit(self, adds: Iterable[Network] = (), removes: Iterable[Network] = ()) -> None:
        for prefix in removes:
            number = self._numbers.pop(prefix, None)
            if number is not None:
                del self._prefixes[number]
        for prefix in adds:
            if (self._dual_stack or prefix != EVERYWHERE) and prefix not in self._numbers:
                number = self._adopted.pop(prefix, None) or self._free()
                self._numbers[prefix] = number
                self._prefixes[number] = prefix

    def _free(self) -> Identity:
        for _ in range(FIRST, LAST + 1):
            number = Identity(self._next)
            self._next = self._next + 1 if self._next < LAST else FIRST
            if number not in self._prefixes:
                return number
        raise ExhaustedError("all numbers for prefixes are taken")
