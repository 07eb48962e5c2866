"""What one peer says of addresses, on its way to the ipcache. Pure.

What the address check does not admit is held back, and follows once it is admitted: its node may be told
after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from agent.addresscheck import AddressCheck, Recheck
from agent.convert import prefix_of, remote_entry
from agent.ipcache import IPCache, Level, Rank
from agent.peerports import PeerPorts
from mesh.ipcache import IPEntry
from mesh.namedports import gathered
from mesh.service import Port


class RemoteIPs:
    """Keyed by the keys' suffixes. Values are not kept: `again` decodes what is held once more."""

    def __init__(self, peer: str, table: IPCache, check: AddressCheck, ports: PeerPorts) -> None:
        self._peer = peer
        self._table = table
        self._ports = ports
        self._check = check
        self._rank = Rank(Level.PEER_ENDPOINT, peer)
        self._withheld: set[str] = set()

    def apply(self, upserts: Mapping[str, IPEntry], removes: Iterable[str]) -> None:
        for suffix, entry in upserts.items():
            if self._check.admits(suffix):
                self._withheld.discard(suffix)
                self._table.upsert(prefix_of(suffix), self._rank_of(suffix), remote_entry(entry))
                self._set_ports(suffix, entry)
            else:
                self._withhold(suffix)
        for suffix in removes:
            self._check.forget_ip(suffix)
            self._withheld.discard(suffix)
            self._table.remove(prefix_of(suffix), self._rank_of(suffix))
            self._set_ports(suffix, None)

    def recheck(self, what: Recheck, held: Iterable[bytes], again: Callable[[str], IPEntry]) -> None:
        """The verdict may have changed; `held` are the keys that the peer has now."""
        match what:
            case Recheck.NOTHING:
                return
            case Recheck.OUTSIDE:
                suffixes = sorted(self._check.ips)
            case Recheck.EVERYTHING:
                suffixes = [key.decode() for key in held]
        for suffix in suffixes:
            if not self._check.admits(suffix):
                self._withhold(suffix)
            elif suffix in self._withheld:
                self.apply({suffix: again(suffix)}, ())

    def _withhold(self, suffix: str) -> None:
        if suffix not in self._withheld:
            self._withheld.add(suffix)
            self._table.remove(prefix_of(suffix), self._rank_of(suffix))
            self._set_ports(suffix, None)

    def _set_ports(self, suffix: str, entry: IPEntry | None) -> None:
        told = entry.named_ports if entry is not None else ()
        ports = gathered((port.name, Port(port.protocol, port.port)) for port in told)
        self._ports.claim((self._peer, suffix), int(entry.identity) if entry is not None else 0, ports)

    def _rank_of(self, suffix: str) -> Rank:
        """Two keys may name one prefix (`10.0.0.1` and `10.0.0.1/32`): then they are two claims."""
        return self._rank if "/" not in suffix else self._rank._replace(owner=suffix)
