"""Which number stands for a node on this node, and for which addresses (spec 6.1, cilium_node_map_v2). Pure.

A number is this node's own word and means nothing elsewhere. A node keeps its number while it is known, and
over restarts of the agent: what the kernel's map has is taken over. 0 is the node itself, which is not in
the map. An address that several nodes claim is the first one's, our own cluster's before a peer's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from itertools import chain

from agent.desired import Clock, Desired
from agent.ipcache import Level, Rank
from mesh.node import Node

log = logging.getLogger(__name__)

OWN, LAST = 0, 2**16 - 1


class NodeIDs:
    """`wanted`: address -> number."""

    def __init__(self, clock: Clock) -> None:
        self.wanted: Desired[str, int] = Desired(clock)
        self.own: tuple[str, ...] = ()
        self._nodes: dict[Rank, tuple[str, ...]] = {}
        self._numbers: dict[Rank, int] = {}
        self._used: dict[int, Rank] = {}
        self._claims: dict[str, list[Rank]] = {}  # sorted; nearly always of one
        self._recovered: dict[str, int] = {}  # nobody has claimed these yet
        self._waiting: frozenset[int] = frozenset()  # their numbers, and those that were
        self._last = OWN

    def all(self) -> dict[int, tuple[str, ...]]:
        """Number -> the node's addresses, as they are in the map; the node's own are those it has told."""
        found: dict[int, list[str]] = {OWN: list(self.own)}
        for ip, number in self.wanted.entries.items():
            found.setdefault(number, []).append(ip)
        return {number: tuple(ips) for number, ips in sorted(found.items())}

    def claim(self, rank: Rank, node: Node | None) -> None:
        """What a node tells of itself now; None: it is gone."""
        addresses = _addresses(node)
        if rank.level is Level.OWN_NODE:
            self.own = addresses
            return
        before = self._nodes.pop(rank, ())
        if node is not None:
            self._nodes[rank] = addresses
            self._number(rank, addresses)
        for ip in addresses:
            self._enter(ip, rank)
        for ip in before:
            if ip not in addresses:
                self._leave(ip, rank)
        if node is None and (number := self._numbers.pop(rank, None)) is not None:
            del self._used[number]

    def recover(self, held: Mapping[str, int]) -> None:
        """Take over what an earlier life left in the map. Nodes that have spoken already get theirs back."""
        self._recovered = dict(held)
        self._waiting = frozenset(held.values())
        self._numbers.clear()
        self._used.clear()
        for rank in sorted(self._nodes):
            self._number(rank, self._nodes[rank])
        for ip, ranks in self._claims.items():
            self._recovered.pop(ip, None)
            self._give(ip, ranks[0])
        for ip, number in self._recovered.items():
            self.wanted.upsert(ip, number)

    def everybody_spoke(self) -> None:
        """What nobody has claimed goes."""
        for ip in self._recovered:
            self.wanted.remove(ip)
        self._recovered.clear()
        self._waiting = frozenset()

    def _number(self, rank: Rank, addresses: Iterable[str]) -> None:
        if rank in self._numbers:
            return
        earlier = (self._recovered[ip] for ip in addresses if ip in self._recovered)
        number = next((each for each in earlier if each not in self._used), None) or self._next()
        if number is None:
            log.warning("node %s has no number: all %s are taken", rank.owner, LAST)
            return
        self._numbers[rank] = number
        self._used[number] = rank

    def _next(self) -> int | None:
        """The next that is free, those given back long ago before those given back just now."""
        for number in chain(range(self._last + 1, LAST + 1), range(1, self._last + 1)):
            if number not in self._used and number not in self._waiting:
                self._last = number
                return number
        return None

    def _enter(self, ip: str, rank: Rank) -> None:
        self._recovered.pop(ip, None)
        ranks = self._claims.setdefault(ip, [])
        if rank not in ranks:
            ranks.append(rank)
            ranks.sort()
        self._give(ip, ranks[0])

    def _leave(self, ip: str, rank: Rank) -> None:
        ranks = self._claims[ip]
        ranks.remove(rank)
        if ranks:
            self._give(ip, ranks[0])
        else:
            del self._claims[ip]
            self.wanted.remove(ip)

    def _give(self, ip: str, rank: Rank) -> None:
        number = self._numbers.get(rank)
        if number is None:
            self.wanted.remove(ip)
        else:
            self.wanted.upsert(ip, number)


def _addresses(node: Node | None) -> tuple[str, ...]:
    """Each once; of types that are names none."""
    return tuple(dict.fromkeys(each.ip for each in node.addresses if each.ip)) if node is not None else ()
