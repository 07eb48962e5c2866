"""IPv4 and IPv6 prefixes as policies name them, with exceptions. Pure.

Every prefix that a policy names, exceptions included, gets an identity of its own on each node; an address
has that of the longest one around it. So whether an address is meant is a question about prefixes alone.
Prefixes mean the world outside: pods and nodes have identities of their own, which no prefix selects, as in
Cilium. One family's never mean the other's addresses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, TypeVar

from mesh.errors import PolicyError
from mesh.identity import RESERVED, Label, Labels

CIDR_SOURCE = "cidr"
Key = TypeVar("Key")

Network = IPv4Network | IPv6Network
EVERYWHERE = IPv4Network("0.0.0.0/0")  # no prefix of its own where all is IPv4: it is the world's identity
EVERYWHERE_IPV6 = IPv6Network("::/0")


@dataclass(frozen=True, slots=True)
class CIDR:
    prefix: Network
    excepts: tuple[Network, ...] = ()

    def covers(self, network: Network) -> bool:
        """Whether the addresses that have `network`'s identity are meant."""
        return is_inside(network, self.prefix) and not any(is_inside(network, each) for each in self.excepts)

    @property
    def prefixes(self) -> tuple[Network, ...]:
        return (self.prefix, *self.excepts)


def covered(cidrs: Iterable[CIDR], prefixes: Mapping[Key, Network]) -> set[Key]:
    """The keys of the prefixes that any of `cidrs` covers.

    Only what stands at one of a prefix's own wider ones, 33 or 129, can cover it: thousands of both are no
    square.
    """
    found: dict[_Place, list[CIDR]] = {}
    for cidr in cidrs:
        found.setdefault(_place(cidr.prefix, cidr.prefix.prefixlen), []).append(cidr)
    return {
        key
        for key, network in prefixes.items()
        if any(
            cidr.covers(network)
            for bits in range(network.prefixlen + 1)
            for cidr in found.get(_place(network, bits), ())
        )
    }


_Place = tuple[int, int, int]  # bits of the family, prefix length, leading bits


def _place(network: Network, bits: int) -> _Place:
    width = network.max_prefixlen
    return width, bits, int(network.network_address) >> (width - bits)


def labels_of(network: Network) -> Labels:
    """A prefix is a part of the world."""
    return (Label(CIDR_SOURCE, str(network)), Label(RESERVED, "world"))


def parse_cidr(said: object) -> CIDR:
    """A prefix or an address."""
    return CIDR(_network(said))


def parse_cidr_set(said: object, cidr: str = "cidr") -> CIDR:
    """An object of a prefix and its exceptions; `cidr` is the former's name."""
    if not isinstance(said, Mapping):
        raise PolicyError("a CIDR with exceptions must be an object")
    network = _network(said.get(cidr))
    excepts = [_network(item) for item in _texts(said.get("except"))]
    if any(not is_inside(item, network) for item in excepts):
        raise PolicyError(f"an exception of {network} is not inside of it")
    return CIDR(network, tuple(excepts))


def is_inside(inner: Network, outer: Network) -> bool:
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def _network(said: object) -> Network:
    if not isinstance(said, str):
        raise PolicyError("a CIDR must be a text")
    try:
        return ip_network(said, strict=False)
    except ValueError as error:
        raise PolicyError(f"{said[:64]!r} is not a CIDR") from error


def _texts(said: Any) -> Iterable[object]:
    if said is None:
        return ()
    if not isinstance(said, list):
        raise PolicyError("except must be a list")
    return said
