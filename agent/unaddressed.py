"""Remote backends whose addresses no peer has told yet. Pure: time is given.

Nothing orders the kinds of a peer's entries (spec 3.3): after a broken connection a service may name a pod
seconds before the pod's address is here, and with it the node to send packets to. A connection to it would
fail. Such a backend waits, but not for ever: backends outside of the mesh never get an entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

PATIENCE_SECONDS = 5.0  # connections to one peer that broke together are back together within two


class Unaddressed:
    def __init__(self, is_addressed: Callable[[str], bool], now: Callable[[], float]) -> None:
        self._is_addressed = is_addressed
        self._now = now
        self._since: dict[str, float] = {}

    @property
    def waiting(self) -> frozenset[str]:
        return frozenset(self._since)

    def told(self, addresses: Iterable[str]) -> None:
        """A service names these, and did not before."""
        now = self._now()
        for address in addresses:
            if address not in self._since and not self._is_addressed(address):
                self._since[address] = now

    def addressed(self, addresses: Iterable[str]) -> frozenset[str]:
        """These have an entry now; those of them that were waited for."""
        return self._forget(address for address in addresses if address in self._since)

    def given_up(self) -> frozenset[str]:
        """Those that were waited for long enough."""
        too_old = self._now() - PATIENCE_SECONDS
        return self._forget(address for address, since in self._since.items() if since <= too_old)

    def _forget(self, addresses: Iterable[str]) -> frozenset[str]:
        found = frozenset(addresses)
        for address in found:
            del self._since[address]
        return found
