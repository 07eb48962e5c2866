"""Which identity stands behind an IP prefix, when several sources claim it. Pure: no I/O, no clock.

Every claim has a rank and the lowest rank wins, whatever the order in which claims came (rule: what we know
ourselves is never overridden by a peer). A losing claim is kept: it takes over when the winner withdraws.
The bulk, a remote address that nobody else claims, costs two dictionary slots: who won, and with what.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

import msgspec

from agent.desired import Clock, Desired
from mesh.addressing import ReservedIdentity
from mesh.node import Node


class IPCacheEntry(msgspec.Struct, frozen=True, gc=False):
    """What the kernel's ipcache says of one prefix. `tunnel` None: no encapsulation.

    A struct because there are half a million: 48 bytes each, and none of the garbage collector's business.
    """

    identity: int
    tunnel: str | None
    encrypt_key: int = 0


class Level(IntEnum):
    """Whose word counts more: lower wins."""

    OWN_NODE = 0  # this node's addresses and endpoints, which we made ourselves
    API_SERVER = 1  # where our own Kubernetes answers: says more than that it is a node
    LOCAL_NODE = 2  # nodes of our own cluster
    LOCAL_ENDPOINT = 3  # endpoints of our own cluster, as Kubernetes tells
    RECOVERED_OWN = 4  # found after a restart, perhaps our own cluster's: Kubernetes has not spoken yet
    PEER_NODE = 5
    PEER_ENDPOINT = 6
    CIDR = 7  # a policy names the prefix; an identity of this node alone
    RECOVERED = 9  # found in the kernel after a restart; its owner has not spoken yet


class Rank(NamedTuple):
    """The source of a claim. Ties within a level are broken by name, so that every node decides alike."""

    level: Level
    peer: str = ""
    owner: str = ""


class IPCache:
    """Folds claims into wanted entries."""

    def __init__(self, clock: Clock) -> None:
        self.wanted: Desired[str, IPCacheEntry] = Desired(clock)
        self._winners: dict[str, Rank] = {}
        self._losers: dict[str, dict[Rank, IPCacheEntry]] = {}

    def upsert(self, prefix: str, rank: Rank, entry: IPCacheEntry) -> None:
        current = self._winners.get(prefix)
        if current is not None and current != rank:
            losers = self._losers.setdefault(prefix, {})
            if current < rank:
                losers[rank] = entry
                return
            losers[current] = self.wanted.entries[prefix]
        self._win(prefix, rank, entry)

    def upsert_all(self, rank: Rank, entries: Mapping[str, IPCacheEntry]) -> None:
        """One source's claims to many prefixes. `rank` is shared by all of them: pass the same object."""
        setdefault = self._winners.setdefault
        contested = [prefix for prefix in entries if setdefault(prefix, rank) is not rank]
        if not contested:
            self.wanted.upsert_all(entries)
            return
        uncontested = dict(entries)
        for prefix in contested:
            self.upsert(prefix, rank, uncontested.pop(prefix))
        self.wanted.upsert_all(uncontested)

    def remove(self, prefix: str, rank: Rank) -> None:
        current = self._winners.get(prefix)
        if current is None:
            return
        losers = self._losers.get(prefix, {})
        if current != rank:
            losers.pop(rank, None)
        elif losers:
            heir = min(losers)
            self._win(prefix, heir, losers.pop(heir))
        else:
            del self._winners[prefix]
            self.wanted.remove(prefix)
        if not losers:
            self._losers.pop(prefix, None)

    def replace(self, rank: Rank, old: Mapping[str, IPCacheEntry], new: Mapping[str, IPCacheEntry]) -> None:
        """One source's claims change from `old` to `new`: added first, so that nothing is missing between."""
        for prefix, entry in new.items():
            self.upsert(prefix, rank, entry)
        for prefix in old.keys() - new.keys():
            self.remove(prefix, rank)

    def rank_of(self, prefix: str) -> Rank | None:
        """Whose claim is the wanted one."""
        return self._winners.get(prefix)

    def claim(self, prefix: str, rank: Rank) -> IPCacheEntry | None:
        """What that source says of the prefix, whether it wins or not."""
        if self._winners.get(prefix) == rank:
            return self.wanted.entries[prefix]
        return self._losers.get(prefix, {}).get(rank)

    def _win(self, prefix: str, rank: Rank, entry: IPCacheEntry) -> None:
        self._winners[prefix] = rank
        self.wanted.upsert(prefix, entry)


def host_prefix(address: str) -> str:
    """An address as the prefix of itself."""
    return f"{address}/{128 if ':' in address else 32}"


def node_entries(node: Node, *, own: bool = False) -> dict[str, IPCacheEntry]:
    """The entries of a node's own addresses (spec 2.5): remote-node, health and ingress.

    InternalIPs are reached without a tunnel, everything behind the node through it; on our own node the
    addresses are the host and nothing is tunnelled.
    """
    tunnel = None if own else node.internal_ip(4)
    identity = ReservedIdentity.HOST if own else ReservedIdentity.REMOTE_NODE
    entries: dict[str, IPCacheEntry] = {}
    for address in node.addresses:
        if address.type in ("InternalIP", "ExternalIP", "CiliumInternalIP") and address.ip:
            inside = address.type == "CiliumInternalIP"
            key = node.encryption_key if inside else 0
            entries[host_prefix(address.ip)] = IPCacheEntry(int(identity), tunnel if inside else None, key)
    special = (
        (ReservedIdentity.HEALTH, node.ipv4_health_ip),
        (ReservedIdentity.HEALTH, node.ipv6_health_ip),
        (ReservedIdentity.INGRESS, node.ipv4_ingress_ip),
        (ReservedIdentity.INGRESS, node.ipv6_ingress_ip),
    )
    for reserved, ip in special:
        if ip and (own or tunnel):  # without one it would look like our own
            entries[host_prefix(ip)] = IPCacheEntry(int(reserved), tunnel, node.encryption_key)
    return entries
