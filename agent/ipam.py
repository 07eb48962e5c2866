"""Which of the node's pod addresses are taken. Pure: no I/O, no clock.

A pod CIDR is IPv4 or IPv6. Its first address is the node's own; the network and the last address (of IPv4
the broadcast address) are never given out. Addresses are given out round robin: one that was just released
rests as long as possible, because other clusters may still know its last owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from agent.errors import ExhaustedError, RequestError


class AddressPool:
    """The addresses of one pod CIDR and who owns them."""

    def __init__(self, cidr: str) -> None:
        self._network = ip_network(cidr)
        self._owners: dict[str, str] = {}
        self._last = self._first

    @property
    def cidr(self) -> str:
        return str(self._network)

    @property
    def gateway(self) -> str:
        """The node's own address in the CIDR."""
        return str(self._network[1])

    @property
    def owners(self) -> Mapping[str, str]:
        """Address -> "namespace/pod"."""
        return dict(self._owners)

    @property
    def capacity(self) -> int:
        return max(0, self._network.num_addresses - 3)

    def allocate(self, owner: str) -> str:
        """A free address for `owner`. An owner may hold several: a pod's old and new incarnation."""
        size = self._network.num_addresses
        start = int(self._last) - int(self._network.network_address)
        for step in range(1, size + 1):
            offset = (start + step) % size
            address = str(self._network[offset])
            if 2 <= offset < size - 1 and address not in self._owners:
                self._last = self._network[offset]
                self._owners[address] = owner
                return address
        raise ExhaustedError(f"all {self.capacity} pod addresses of {self._network} are taken")

    def take(self, address: str, owner: str) -> None:
        """Mark a certain address as taken: restored from disk, or asked for by name."""
        try:
            taken = ip_address(address)
        except ValueError as error:
            raise RequestError(f"{address!r} is not an IP address") from error
        offset = int(taken) - int(self._network.network_address)
        if taken.version != self._network.version or not 2 <= offset < self._network.num_addresses - 1:
            raise RequestError(f"{address} is not a pod address of {self._network}")
        holder = self._owners.get(address)
        if holder is not None and holder != owner:
            raise RequestError(f"{address} is taken by {holder}")
        self._owners[address] = owner
        if int(taken) > int(self._last):
            self._last = taken

    def reserve(self, address: str, owner: str) -> None:
        """As `take`; the next one is given out where it would have been without it."""
        last = self._last
        self.take(address, owner)
        self._last = last

    def release(self, address: str) -> bool:
        return self._owners.pop(address, None) is not None

    @property
    def _first(self) -> IPv4Address | IPv6Address:
        return self._network[1]


@dataclass(frozen=True, slots=True)
class Addresses:
    """A pod's; "" where it has none of a family."""

    ipv4: str = ""
    ipv6: str = ""


class Pools:
    """The node's pod addresses of IPv4 and, where it has any, of IPv6. One that is given back or taken again
    finds its pool by its family."""

    def __init__(self, ipv4: AddressPool, ipv6: AddressPool | None = None) -> None:
        self.ipv4 = ipv4
        self.ipv6 = ipv6

    @property
    def all(self) -> tuple[AddressPool, ...]:
        return (self.ipv4, self.ipv6) if self.ipv6 else (self.ipv4,)

    @property
    def owners(self) -> Mapping[str, str]:
        return {address: owner for pool in self.all for address, owner in pool.owners.items()}

    def of(self, address: str) -> AddressPool:
        """Raises RequestError for IPv6 where there is none."""
        if ":" not in address:
            return self.ipv4
        if self.ipv6 is None:
            raise RequestError(f"{address}: this node has no IPv6 addresses for pods")
        return self.ipv6

    def allocate(self, owner: str, *, ipv4: bool = True, ipv6: bool = True) -> Addresses:
        """One of each family that is asked for and that the node has. All or none."""
        first = self.ipv4.allocate(owner) if ipv4 else ""
        try:
            second = self.ipv6.allocate(owner) if ipv6 and self.ipv6 else ""
        except ExhaustedError:
            self.ipv4.release(first)
            raise
        return Addresses(first, second)

    def take(self, address: str, owner: str) -> None:
        self.of(address).take(address, owner)

    def release(self, address: str) -> bool:
        return any(pool.release(address) for pool in self.all)
