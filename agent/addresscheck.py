"""Rule 12 for one peer: what it claims outside of what it may, and of its own nodes' pod CIDRs and IPs. Pure.

What it may claim this cluster's operator says (`peering.rules.Claims`): nothing outside of that counts, in
any mode and from the first moment on. Beyond that its own nodes say it.

In mode `warn` such claims are counted and kept, in mode `enforce` they are counted and left out. Nodes may
be told after the addresses behind them, so nothing is judged before the nodes are listed: until then `warn`
keeps and `enforce` holds back. A peer without any pod CIDR (cloud IPAM modes) cannot be judged: `warn` does
not count then, `enforce` leaves out. Decides only; who asked applies it, and asks again after `changed`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from enum import Enum, IntEnum
from itertools import chain

from mesh.node import Node
from mesh.service import GlobalService
from peering.rules import Claims
from peering.territory import Territory


class Mode(Enum):
    WARN = "warn"
    ENFORCE = "enforce"


class Recheck(IntEnum):
    """What must be asked again: the more, the higher."""

    NOTHING = 0
    OUTSIDE = 1  # the territory only grew
    EVERYTHING = 2


OUTSIDE_IP = "ips: the address is outside the pod CIDRs and IPs of the peer's nodes"
CLAIM_NODE = "nodes: an address is not among those that the peer may claim"
CLAIM_IP = "ips: the address is not among those that the peer may claim"
CLAIM_HOST = "ips: the node behind the address is not among those that the peer may claim"
CLAIM_BACKEND = "services: a backend is not among the addresses that the peer may claim"
CLAIM_NAMESPACE = "services: the namespace is not among those that the peer may serve"
OUTSIDE_BACKEND = "services: a backend is outside the pod CIDRs and IPs of the peer's nodes"


class AddressCheck:
    """`report` hears of each claim once, when it is first found outside: its key and the reason."""

    def __init__(self, mode: Mode, report: Callable[[str, str], None], claims: Claims | None = None) -> None:
        self.mode = self._mode = mode
        # with the reason for each
        self.nodes: dict[str, str] = {}  # names of nodes that may not be claimed
        self.ips: dict[str, str] = {}  # suffixes found outside
        self.services: dict[str, str] = {}  # keys of services with a backend outside
        self._report = report
        self._territory = Territory()
        self._is_listed = False
        self._claims = Claims()
        self._claimable: Territory | None = None  # None: anything
        self.restrict_to(claims or Claims())

    @property
    def outside(self) -> int:
        return len(self.ips) + len(self.services) + len(self.nodes)

    @property
    def reasons(self) -> Mapping[str, int]:
        """For how many each is outside."""
        return Counter(chain(self.nodes.values(), self.ips.values(), self.services.values()))

    def restrict_to(self, claims: Claims) -> Recheck:
        """The operator's word. What changed must be asked of the nodes, too."""
        if claims == self._claims:
            return Recheck.NOTHING
        self._claims = claims
        self.mode = self._mode if claims.address_check is None else Mode(claims.address_check)
        self._claimable = None if claims.addresses is None else Territory.of(claims.addresses)
        for found in (self.nodes, self.ips, self.services):
            found.clear()  # for other reasons than before
        return Recheck.EVERYTHING

    def admits_node(self, node: Node) -> bool:
        """Whether the node may be claimed."""
        is_inside = self._claimable is None or self._claimable.covers_node(node)
        self._count(self.nodes, node.name, "" if is_inside else CLAIM_NODE)
        return is_inside

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

    @property
    def knows_addresses(self) -> bool:
        """Whether the operator has said which addresses may be claimed."""
        return self._claimable is not None

    def admits_host(self, host: str | None) -> bool:
        """Whether packets may be sent to this address on the peer's word. None: none are."""
        return self._claimable is None or not host or self._claimable.covers(host)

    def admits(self, suffix: str, host: str | None = None) -> bool:
        """Whether the ip entry under this key counts; `host`: where it says that the address is."""
        if self._claimable is not None:
            is_claimable = self._claimable.covers(suffix)
            if not is_claimable or not self.admits_host(host):
                self._count(self.ips, suffix, CLAIM_HOST if is_claimable else CLAIM_IP)
                return False
        if not self._can_judge:
            self.ips.pop(suffix, None)
            return self.mode is Mode.WARN
        is_inside = self._territory.covers(suffix)
        self._note(self.ips, suffix, OUTSIDE_IP, outside=not is_inside)
        return is_inside or self.mode is Mode.WARN

    def doubtful(self, suffixes: Iterable[str]) -> set[str]:
        """Those for which `admits` must be asked: of the others it would say yes, and has nothing to note."""
        forbidden = self._claimable.outside(suffixes) if self._claimable is not None else set[str]()
        if not self._can_judge and self.mode is Mode.WARN:
            return forbidden | self.ips.keys() & suffixes
        if not self._can_judge:
            return set(suffixes)
        return forbidden | self._territory.outside(suffixes) | self.ips.keys() & suffixes

    def restrict(self, service: GlobalService) -> GlobalService:
        """The service with those backends that count."""
        allowed, reason = self._claimed(service)
        if reason:
            self._count(self.services, service.key, reason)
            return self._inside(allowed)
        if not self._can_judge:
            self.services.pop(service.key, None)
            return service if self.mode is Mode.WARN else replace(service, backends={})
        is_whole = all(map(self._territory.covers, service.backends))
        self._note(self.services, service.key, OUTSIDE_BACKEND, outside=not is_whole)
        return service if is_whole else self._inside(service)

    def _claimed(self, service: GlobalService) -> tuple[GlobalService, str]:
        """The service as it may be claimed, and why that is not the whole of it."""
        namespaces, claimable = self._claims.namespaces, self._claimable
        if namespaces is not None and service.key.partition("/")[0] not in namespaces:
            return replace(service, backends={}), CLAIM_NAMESPACE
        if claimable is None or all(map(claimable.covers, service.backends)):
            return service, ""
        return _only(service, claimable.covers), CLAIM_BACKEND

    def _inside(self, service: GlobalService) -> GlobalService:
        """What the mode leaves of it."""
        if self.mode is Mode.WARN:
            return service
        return _only(service, self._territory.covers if self._can_judge else lambda _: False)

    def forget_node(self, name: str) -> None:
        self.nodes.pop(name, None)

    def forget_ip(self, suffix: str) -> None:
        self.ips.pop(suffix, None)

    def forget_service(self, key: str) -> None:
        self.services.pop(key, None)

    @property
    def _can_judge(self) -> bool:
        return self._is_listed and (self.mode is Mode.ENFORCE or self._territory.has_pod_cidrs)

    def _note(self, found: dict[str, str], key: str, reason: str, *, outside: bool) -> None:
        said = reason if self.mode is Mode.ENFORCE else f"{reason} (kept)"
        self._count(found, key, said if outside else "")

    def _count(self, found: dict[str, str], key: str, reason: str) -> None:
        """`reason` empty: nothing is wrong with it."""
        if not reason:
            found.pop(key, None)
            return
        is_new = key not in found
        found[key] = reason
        if is_new:
            self._report(key, reason)


def _only(service: GlobalService, covers: Callable[[str], bool]) -> GlobalService:
    return replace(service, backends={ip: ports for ip, ports in service.backends.items() if covers(ip)})
