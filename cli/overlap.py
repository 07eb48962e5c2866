"""Which CIDRs of two clusters overlap. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

Network = IPv4Network | IPv6Network


def overlaps(ours: Iterable[str], theirs: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs (ours, theirs) that share an address, in order. What is no CIDR is passed over.

    Two CIDRs overlap only when one contains the other: sorted, whatever contains a CIDR is still open when
    it comes. n log n, so that thousands of nodes cost milliseconds.
    """
    networks = sorted(
        [(network, 0) for network in _parsed(ours)] + [(network, 1) for network in _parsed(theirs)],
        key=lambda item: (item[0].version, int(item[0].network_address), item[0].prefixlen, item[1]),
    )
    found: list[tuple[str, str]] = []
    enclosing: list[tuple[Network, int]] = []
    for network, side in networks:
        while enclosing and not _contains(enclosing[-1][0], network):
            enclosing.pop()
        for outer, whose in enclosing:
            if whose != side:
                pair = (str(outer), str(network))
                found.append(pair if side else (pair[1], pair[0]))
        enclosing.append((network, side))
    return found


def _parsed(texts: Iterable[str]) -> set[Network]:
    found: set[Network] = set()
    for text in texts:
        try:
            found.add(ip_network(text, strict=False))
        except ValueError:  # not ours to judge: the node does not work then
            continue
    return found


def _contains(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and inner.network_address in outer
