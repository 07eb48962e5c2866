"""Which of the node's pod addresses are taken. Pure: no I/O, no clock.

The first address of the pod CIDR is the node's own (the pods' gateway); the network and the broadcast
address are never given out. Addresses are given out round robin: one that was just released rests as
long as possible, because other clusters may still know its last owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network

from agent.errors import ExhaustedError, RequestError


class AddressPool:
    """The addresses of one pod CIDR and who owns them."""

    def __init__(self, cidr: str) -> None:
        self._network = IPv4Network(cidr)
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
        offset = int(IPv4Address(address)) - int(self._network.network_address)
        if not 2 <= offset < self._network.num_addresses - 1:
            raise RequestError(f"{address} is not a pod address of {self._network}")
        holder = self._owners.get(address)
        if holder is not None and holder != owner:
            raise RequestError(f"{address} is taken by {holder}")
        self._owners[address] = owner
        self._last = max(self._last, IPv4Address(address))

    def release(self, address: str) -> bool:
        return self._owners.pop(address, None) is not None

    @property
    def _first(self) -> IPv4Address:
        return self._network[1]
