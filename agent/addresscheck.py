"""Rule 12 for one peer: addresses that it claims outside of its own nodes' pod CIDRs and IPs. Pure.

In mode `warn` such claims are counted and kept, in mode `enforce` they are counted and left out. Nodes may
be told after the addresses behind them, so nothing is judged before the nodes are listed: until then `warn`
keeps and `enforce` holds back. A peer without any pod CIDR (cloud IPAM modes) cannot be judged: `warn` does
not count then, `enforce` leaves out. Decides only; who asked applies it, and asks again after `changed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import Enum, IntEnum

from agent.territory import Territory
from mesh.node import Node
from mesh.service import GlobalService


class Mode(Enum):
    WARN = "warn"
    ENFORCE = "enforce"


class Recheck(IntEnum):
    """What must be asked again: the more, the higher."""

    NOTHING = 0
    OUTSIDE = 1  # the territory only grew
    EVERYTHING = 2


OUTSIDE_IP = "ips: the address is outside the pod CIDRs and IPs of the peer's nodes"
OUTSIDE_BACKEND = "services: a backend is outside the pod CIDRs and IPs of the peer's nodes"


class AddressCheck:
    """`report` hears of each claim once, when it is first found outside: its key and the reason."""

    def __init__(self, mode: Mode, report: Callable[[str, str], None]) -> None:
        self.mode = mode
        self.ips: set[str] = set()  # suffixes found outside
        self.services: set[str] = set()  # keys of services with a backend outside
        self._report = report
        self._territory = Territory()
        self._is_listed = False

    @property
    def outside(self) -> int:
        return len(self.ips) + len(self.services)

    def changed(self, old: Node | None, new: Node | None) -> Recheck:
        """A node came, changed or went."""
        could_judge = self._can_judge
        grew, shrank = self._territory.replace(old, new)
        if shrank or could_judge != self._can_judge:
            return Recheck.EVERYTHING
        return Recheck.OUTSIDE if grew else Recheck.NOTHING

    def listed(self) -> Recheck:
        """The nodes are complete: from now on claims are judged."""
        before, self._is_listed = self._is_listed, True
        return Recheck.NOTHING if before else Recheck.EVERYTHING

    def drained(self) -> None:
        """Everything was forgotten, one by one: the nodes must be listed again."""
        self._is_listed = False

    def admits(self, suffix: str) -> bool:
        """Whether the ip entry under this key counts."""
        if not self._can_judge:
            self.ips.discard(suffix)
            return self.mode is Mode.WARN
        is_inside = self._territory.covers(suffix)
        self._note(self.ips, suffix, OUTSIDE_IP, outside=not is_inside)
        return is_inside or self.mode is Mode.WARN

    def doubtful(self, suffixes: Iterable[str]) -> set[str]:
        """Those for which `admits` must be asked: of the others it would say yes, and has nothing to note."""
        if not self._can_judge and self.mode is Mode.WARN:
            return self.ips.intersection(suffixes)
        if not self._can_judge:
            return set(suffixes)
        return self._territory.outside(suffixes) | self.ips.intersection(suffixes)

    def restrict(self, service: GlobalService) -> GlobalService:
        """The service with those backends that count."""
        if not self._can_judge:
            self.services.discard(service.key)
            return service if self.mode is Mode.WARN else replace(service, backends={})
        inside = {ip: ports for ip, ports in service.backends.items() if self._territory.covers(ip)}
        is_whole = len(inside) == len(service.backends)
        self._note(self.services, service.key, OUTSIDE_BACKEND, outside=not is_whole)
        return service if is_whole or self.mode is Mode.WARN else replace(service, backends=inside)

    def forget_ip(self, suffix: str) -> None:
        self.ips.discard(suffix)

    def forget_service(self, key: str) -> None:
        self.services.discard(key)

    @property
    def _can_judge(self) -> bool:
        return self._is_listed and (self.mode is Mode.ENFORCE or self._territory.has_pod_cidrs)

    def _note(self, found: set[str], key: str, reason: str, *, outside: bool) -> None:
        if not outside:
            found.discard(key)
        elif key not in found:
            found.add(key)
            self._report(key, reason if self.mode is Mode.ENFORCE else f"{reason} (kept)")
