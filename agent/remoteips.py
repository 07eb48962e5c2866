"""What one peer says of addresses, on its way to the ipcache. Pure.

What the address check does not admit is held back, and follows once it is admitted: its node may be told
after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from agent.addresscheck import AddressCheck, Recheck
from agent.convert import prefix_of, remote_entry
from agent.ipcache import IPCache, IPCacheEntry, Level, Rank
from agent.peerports import PeerPorts
from mesh.ipcache import IPEntry
from mesh.namedports import NamedPorts, gathered
from mesh.service import Port


class _Said(NamedTuple):
    """What counts of one entry."""

    entry: IPCacheEntry
    ports: NamedPorts


class RemoteIPs:
    """Keyed by the keys' suffixes. Keeps what is held back, and nothing of what the tables have."""

    def __init__(self, peer: str, table: IPCache, check: AddressCheck, ports: PeerPorts) -> None:
        self._peer = peer
        self._table = table
        self._ports = ports
        self._check = check
        self._rank = Rank(Level.PEER_ENDPOINT, peer)
        self._named: dict[str, NamedPorts] = {}  # of those few whose pods name their ports
        self._withheld: dict[str, _Said] = {}

    def apply(self, upserts: Mapping[str, IPEntry], removes: Iterable[str]) -> None:
        """Most entries are single addresses without named ports: those go to the table all at once."""
        special = self._special(upserts)
        for suffix in special:
            self._upsert(suffix, _said(upserts[suffix]))
        self._table.upsert_all(
            self._rank,
            {
                suffix + ("/128" if ":" in suffix else "/32"): remote_entry(entry)
                for suffix, entry in upserts.items()
                if suffix not in special
            },
        )
        for suffix in removes:
            self._check.forget_ip(suffix)
            self._withheld.pop(suffix, None)
            self._table.remove(prefix_of(suffix), self._rank_of(suffix))
            self._set_ports(suffix, None)

    def _special(self, upserts: Mapping[str, IPEntry]) -> set[str]:
        """Those that are more than an address with an identity, or whose place is not sure."""
        found = self._check.doubtful(upserts)
        found.update([suffix for suffix, entry in upserts.items() if entry.named_ports or "/" in suffix])
        if self._check.knows_addresses:
            admits = self._check.admits_host
            found.update([suffix for suffix, entry in upserts.items() if not admits(entry.host_ip)])
        found.update(self._named.keys() & upserts.keys(), self._withheld.keys() & upserts.keys())
        return found

    def recheck(self, what: Recheck, held: Iterable[bytes]) -> None:
        """The verdict may have changed; `held` are the keys that the peer has now."""
        match what:
            case Recheck.NOTHING:
                return
            case Recheck.OUTSIDE:
                suffixes = set(self._check.ips)
            case Recheck.EVERYTHING:
                known = [key.decode() for key in held]
                # where an address is said to be is not among what `doubtful` knows
                suffixes = set(known) if self._check.knows_addresses else self._check.doubtful(known)
                suffixes |= self._withheld.keys()
        admits, withheld = self._check.admits, self._withheld
        for suffix in sorted(suffixes):
            if not admits(suffix, self._host_of(suffix)):
                self._take_back(suffix)
            elif suffix in withheld:
                self._upsert(suffix, withheld[suffix])

    def _upsert(self, suffix: str, said: _Said) -> None:
        if not self._check.admits(suffix, said.entry.tunnel):
            self._withhold(suffix, said)
            return
        self._withheld.pop(suffix, None)
        self._table.upsert(prefix_of(suffix), self._rank_of(suffix), said.entry)
        self._set_ports(suffix, said)

    def _host_of(self, suffix: str) -> str | None:
        """Where the address is said to be; not looked up where that does not matter."""
        if not self._check.knows_addresses:
            return None
        said = self._withheld.get(suffix)
        entry = said.entry if said else self._table.claim(prefix_of(suffix), self._rank_of(suffix))
        return entry.tunnel if entry else None

    def _take_back(self, suffix: str) -> None:
        """It counted until now: the tables know what it said."""
        if suffix not in self._withheld:
            entry = self._table.claim(prefix_of(suffix), self._rank_of(suffix))
            if entry is not None:
                self._withhold(suffix, _Said(entry, self._named.get(suffix, {})))

    def _withhold(self, suffix: str, said: _Said) -> None:
        if suffix not in self._withheld:
            self._table.remove(prefix_of(suffix), self._rank_of(suffix))
            self._set_ports(suffix, None)
        self._withheld[suffix] = said

    def _set_ports(self, suffix: str, said: _Said | None) -> None:
        ports = said.ports if said is not None else {}
        if ports:
            self._named[suffix] = ports
        elif self._named.pop(suffix, None) is None:
            return  # it never named any
        self._ports.claim((self._peer, suffix), said.entry.identity if said is not None else 0, ports)

    def _rank_of(self, suffix: str) -> Rank:
        """Two keys may name one prefix (`10.0.0.1` and `10.0.0.1/32`): then they are two claims."""
        return self._rank if "/" not in suffix else self._rank._replace(owner=suffix)


def _said(entry: IPEntry) -> _Said:
    ports = gathered((port.name, Port(port.protocol, port.port)) for port in entry.named_ports)
    return _Said(remote_entry(entry), ports)
