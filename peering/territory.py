"""The addresses that a peer's own nodes stand for: their pod CIDRs and their own IPs (rule 12). Pure.

Two nodes may name one network, so networks are counted. A lookup costs one dictionary probe for each
prefix length in use, which in a mesh are two or three, because it is asked for every address of a peer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, ip_network
from typing import Self

from mesh.ip import canonical_ip
from mesh.node import Node

_HEADS = 16384  # nodes of a mesh
_LAST_PARTS = frozenset(map(str, range(256)))
_GROUP = "[0-9a-f]{1,4}"
# an IPv6 address whose first half is written out; in canonical form most pods' are
_HALVES = re.compile(
    f"({_GROUP}(?::{_GROUP}){{3}})(?:(?::{_GROUP}){{4}}|::(?:{_GROUP}(?::{_GROUP}){{0,2}})?)"
)
_Network = tuple[int, int, int]  # bits of the family, prefix length, the network's leading bits


class Territory:
    def __init__(self) -> None:
        self._networks: dict[tuple[int, int], dict[int, int]] = {}
        self._ipv4: list[tuple[int, dict[int, int]]] = []  # of these the IPv4 ones, by bits to shift away
        self._whole: dict[str, bool] = {}  # first three parts of an IPv4 address: all 256 are inside
        self._whole6: dict[str, bool] = {}  # first halves of IPv6 addresses: all of the /64 is inside
        self._pod_cidrs = 0

    @classmethod
    def of(cls, networks: Iterable[str]) -> Self:
        """These networks, and no nodes."""
        found = cls()
        for network in set(_readable(networks)):
            found._add(network)
        return found

    @property
    def has_pod_cidrs(self) -> bool:
        """Cloud IPAM modes publish nodes without any: then nothing can be said about pods' addresses."""
        return self._pod_cidrs > 0

    def replace(self, old: Node | None, new: Node | None) -> tuple[bool, bool]:
        """A node changed; whether the territory grew, and whether it shrank."""
        before, after = _networks(old), _networks(new)
        self._pod_cidrs += len(new.pod_cidrs if new else ()) - len(old.pod_cidrs if old else ())
        grew = [network for network in after - before if self._add(network)]
        shrank = [network for network in before - after if self._remove(network)]
        return bool(grew), bool(shrank)

    def outside(self, prefixes: Iterable[str]) -> set[str]:
        """Those that are not covered."""
        whole, covers, last_parts = self._whole, self.covers, _LAST_PARTS
        found = set()
        for prefix in prefixes:
            head, _, last = prefix.rpartition(".")
            if not (last in last_parts and whole.get(head)) and not covers(prefix):
                found.add(prefix)
        return found

    def covers(self, prefix: str) -> bool:
        """Whether an address, or a whole prefix, lies inside. What is neither does not."""
        try:
            if "/" not in prefix and ":" not in prefix:  # what comes by the hundred thousand
                head, _, last = prefix.rpartition(".")
                if self._is_whole(head):
                    return int(last) < 256
                number = _leading(head) | int(last)
                for shift, heads in self._ipv4:  # noqa: SIM110 - a generator costs as much as the lookups
                    if number >> shift in heads:
                        return True
                return False
            halves = _HALVES.fullmatch(prefix)
            if halves is not None and self._is_whole6(halves[1]):
                return True
            bits, length, number = _parse(prefix)
        except ValueError:
            return False
        return self._has((bits, length, number))

    def covers_node(self, node: Node) -> bool:
        """Whether all that the node stands for lies inside."""
        return all(self._has(network) for network in _networks(node))

    def _has(self, network: _Network) -> bool:
        bits, length, number = network
        return any(
            family == bits and known <= length and number >> (length - known) in heads
            for (family, known), heads in self._networks.items()
        )

    def _is_whole(self, head: str) -> bool:
        """Pods of one node share their head, so this is what most answers come from."""
        known = self._whole.get(head)
        if known is None:
            number = _leading(head)
            known = any(shift >= 8 and number >> shift in heads for shift, heads in self._ipv4)
            if len(self._whole) >= _HEADS:
                self._whole.clear()
            self._whole[head] = known
        return known

    def _is_whole6(self, half: str) -> bool:
        """Pods of one node share it: parsing each address would take longer than all else."""
        known = self._whole6.get(half)
        if known is None:
            _, _, number = _parse(f"{half}::")
            known = any(
                bits == 128 and length <= 64 and number >> (128 - length) in heads
                for (bits, length), heads in self._networks.items()
            )
            if len(self._whole6) >= _HEADS:
                self._whole6.clear()
            self._whole6[half] = known
        return known

    def _forget(self) -> None:
        self._whole.clear()
        self._whole6.clear()

    def _add(self, network: _Network) -> bool:
        bits, length, head = network
        if (bits, length) not in self._networks:
            self._networks[bits, length] = {}
            self._sort_out()
        self._forget()
        heads = self._networks[bits, length]
        heads[head] = heads.get(head, 0) + 1
        return heads[head] == 1

    def _remove(self, network: _Network) -> bool:
        bits, length, head = network
        self._forget()
        heads = self._networks[bits, length]
        heads[head] -= 1
        if heads[head]:
            return False
        del heads[head]
        if not heads:
            del self._networks[bits, length]
            self._sort_out()
        return True

    def _sort_out(self) -> None:
        of_ipv4 = [(length, heads) for (bits, length), heads in self._networks.items() if bits == 32]
        self._ipv4 = [(32 - length, heads) for length, heads in of_ipv4]


@lru_cache(maxsize=_HEADS)
def _leading(head: str) -> int:
    """The first three parts of an IPv4 address: pods of one node share them."""
    first, second, third = head.split(".")
    return int(first) << 24 | int(second) << 16 | int(third) << 8


def _networks(node: Node | None) -> set[_Network]:
    if node is None:
        return set()
    singles = [address.ip for address in node.addresses]
    singles += [node.ipv4_health_ip, node.ipv6_health_ip, node.ipv4_ingress_ip, node.ipv6_ingress_ip]
    return set(_readable([*node.pod_cidrs, *singles]))


def _readable(texts: Iterable[str]) -> Iterable[_Network]:
    for text in texts:
        try:
            yield _parse(text)
        except ValueError:
            continue  # host names stand among a node's addresses


def _parse(text: str) -> _Network:
    if "/" not in text and ":" not in text:
        return 32, 32, int(IPv4Address(text))
    network = ip_network(text if "/" in text else canonical_ip(text) or text, strict=False)
    bits, length = network.max_prefixlen, network.prefixlen
    return bits, length, int(network.network_address) >> (bits - length)
