"""Where our own Kubernetes answers: what the entity `kube-apiserver` means. Pure.

Elsewhere such an address has the identity of that name; on our own node it stays the host's, which is the API
server besides. (Cilium gives an address outside of the cluster its prefix's labels too; here it has none.)
"""

from __future__ import annotations

from agent.identities import Identities
from agent.ipcache import IPCache, IPCacheEntry, Level, Rank, host_prefix
from mesh.addressing import Identity, ReservedIdentity
from mesh.identity import RESERVED, Label, reserved_labels

_RANK = Rank(Level.API_SERVER)
_ENTRY = IPCacheEntry(int(ReservedIdentity.KUBE_APISERVER), None)
_HOST = Identity(ReservedIdentity.HOST)
_HOST_TOO = (*reserved_labels(_HOST), Label(RESERVED, ReservedIdentity.KUBE_APISERVER.text))


class APIServers:
    def __init__(self, ipcache: IPCache, identities: Identities, own_ip: str) -> None:
        self._ipcache = ipcache
        self._identities = identities
        self._own_ip = own_ip
        self._slices: dict[str, frozenset[str]] = {}
        self._claimed: dict[str, IPCacheEntry] = {}

    def set_slice(self, key: str, addresses: frozenset[str]) -> None:
        """`addresses` empty: the slice says nothing (any more)."""
        if self._slices.get(key, frozenset()) == addresses:
            return
        self._slices[key] = addresses
        known = frozenset().union(*self._slices.values())
        if self._own_ip in known:
            self._identities.commit({_HOST: _HOST_TOO})
        elif _HOST in self._identities.all:
            self._identities.commit({}, [_HOST])
        claims = {host_prefix(address): _ENTRY for address in known - {self._own_ip}}
        self._ipcache.replace(_RANK, self._claimed, claims)
        self._claimed = claims
