"""All of the agent's state, as values: what it knows and what it wants of the kernel. No I/O.

Written by the Kubernetes side, the peers and the endpoint API, all on one event loop; read by the data
path, which carries it into the kernel. Wires the reducers together and decides nothing itself, except
when what an earlier life left behind may go.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from agent.apiservers import APIServers
from agent.cidrs import is_local
from agent.desired import Clock
from agent.endpoints import Endpoint
from agent.identities import Identities
from agent.ipcache import IPCache, IPCacheEntry, Level, Rank, host_prefix
from agent.labels import from_texts
from agent.local import LocalNode
from agent.nodeids import NodeIDs
from agent.noderoutes import NodeRoutes
from agent.peerports import PeerPorts
from agent.policy import Policies
from agent.policygroup import PolicyKey
from agent.recovery import Silent, cluster_of, may_be_owned, silent
from agent.services import Services
from mesh.addressing import ClusterID, Identity
from mesh.enforcement import Enforcement
from mesh.localservice import Frontend
from mesh.matching import Backend
from mesh.node import Node

PeerListing = tuple[ClusterID | None, bool]  # cluster id if known, is listed

RECOVERED = Rank(Level.RECOVERED)
RECOVERED_OWN = Rank(Level.RECOVERED_OWN)


class Tables:
    """`peer_listings` tells, at any time, the configured peers; None while the configuration is unread."""

    def __init__(
        self,
        node: LocalNode,
        *,
        default_local_cluster: bool = True,
        enforcement: Enforcement = Enforcement.DEFAULT,
        knows_zones: bool = False,
        knows_algorithms: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.node = node
        self.clock = Clock()
        self.ipcache = IPCache(self.clock)
        self.services = Services(
            self.clock,
            cluster=node.cluster.name,
            node=node.name,
            node_ips=node.outside_ips,
            knows_zones=knows_zones,
            knows_algorithms=knows_algorithms,
            is_addressed=lambda ip: host_prefix(ip) in self.ipcache.wanted.entries,
            now=now,
        )
        self.identities = Identities()
        self.peer_ports = PeerPorts()
        self.routes = NodeRoutes()
        self.node_ids = NodeIDs(self.clock)
        self.policies = Policies(
            self.clock,
            node.cluster.name,
            self.identities,
            self.ipcache,
            self.peer_ports,
            default_local_cluster=default_local_cluster,
            dual_stack=node.dual_stack,
            enforcement=enforcement,
        )
        self.api_servers = APIServers(self.ipcache, self.identities, node.ip)
        self.endpoints: dict[int, Endpoint] = {}
        self.own_is_listed = False
        self._peer_listings: Callable[[], Iterable[PeerListing] | None] = lambda: None
        self._recovered_prefixes: dict[str, IPCacheEntry] = {}
        self._recovered_policy: dict[PolicyKey, bool] = {}

    def set_peer_listings(self, listings: Callable[[], Iterable[PeerListing] | None]) -> None:
        self._peer_listings = listings

    def own_listed(self) -> None:
        """Kubernetes is listed: what we know of our own cluster is complete."""
        self.own_is_listed = True
        for prefix, entry in self._recovered_prefixes.items():
            self.ipcache.upsert(prefix, RECOVERED, entry)
            self.ipcache.remove(prefix, RECOVERED_OWN)
        self.services.start()
        self.policies.start()
        self.settle()

    def claim_node(self, rank: Rank, node: Node | None) -> None:
        """What a node tells of itself now; None: it is gone. Its ipcache entries are the caller's."""
        self.routes.claim(rank, node)
        self.node_ids.claim(rank, node)

    def upsert_endpoint(self, endpoint: Endpoint) -> int:
        """An endpoint of this node: its ipcache entry, and its policy; the revision that has both.

        Its identity may be newer than what the watch has shown: its neighbours' policies must know it before
        it sends its first packet.
        """
        old = self.endpoints.get(endpoint.id)
        self.endpoints[endpoint.id] = endpoint
        number = Identity(endpoint.identity)
        if number not in self.identities.all:
            self.identities.commit({number: from_texts(list(endpoint.labels))})
        self.ipcache.replace(_own_rank(endpoint), _own_entries(old), _own_entries(endpoint))
        self.policies.upsert_endpoint(endpoint)
        return self.clock.revision

    def remove_endpoint(self, number: int) -> int:
        old = self.endpoints.pop(number, None)
        if old is not None:
            self.ipcache.replace(_own_rank(old), _own_entries(old), {})
            self.policies.remove_endpoint(number)
        return self.clock.revision

    def recover(
        self,
        prefixes: Mapping[str, IPCacheEntry],
        backends: Mapping[Frontend, tuple[Backend, ...]],
        policy: Mapping[PolicyKey, bool],
        nodes: Mapping[str, int],
    ) -> None:
        """Take over what the kernel has. Call once, before anything is written."""
        own = self.node.cluster.cluster_id
        self._recovered_prefixes = dict(prefixes)
        local = {prefix: entry.identity for prefix, entry in prefixes.items() if is_local(entry.identity)}
        self.policies.adopt(local)
        for prefix, entry in prefixes.items():
            self.ipcache.upsert(prefix, self._recovered_rank(entry), entry)
        self._recovered_policy = {
            key: deny
            for key, deny in policy.items()
            if key.endpoint in self.endpoints and self._cluster_of(key.identity) not in (None, own)
        }
        self.policies.set_recovered(self._recovered_policy)
        self.node_ids.recover(nodes)
        self.services.set_recovered(_by_cluster(backends, own))
        self.settle()

    def _recovered_rank(self, entry: IPCacheEntry) -> Rank:
        """What may be our own cluster's is, until Kubernetes has spoken: no peer's word goes above it."""
        cluster = self._cluster_of(entry.identity)
        may_be_own = not self.own_is_listed and cluster in (None, self.node.cluster.cluster_id)
        return RECOVERED_OWN if may_be_own else RECOVERED

    def _cluster_of(self, identity: int) -> ClusterID | None:
        """Numbers of prefixes are our own."""
        if is_local(identity):
            return self.node.cluster.cluster_id
        return cluster_of(identity, self.node.cluster.layout)

    def silent(self) -> Silent:
        """Who has not told us everything yet."""
        listings = self._peer_listings()
        return silent(
            own_is_listed=self.own_is_listed,
            configuration_is_read=listings is not None,
            peers=listings or (),
        )

    def settle(self) -> None:
        """Let go of recovered entries that nobody silent can own any more."""
        self.routes.clock.tick()  # routes of an earlier life too
        who = self.silent()
        if not who.anybody:
            self.node_ids.everybody_spoke()
        if not self._has_recovered():
            return
        own = self.node.cluster.cluster_id
        listed = frozenset(c for c, is_listed in self._peer_listings() or () if is_listed and c is not None)

        def may_stay(cluster: ClusterID | None) -> bool:
            return may_be_owned(cluster, who, own, listed)

        prefixes = self._recovered_prefixes
        for prefix in [p for p, e in prefixes.items() if not may_stay(self._cluster_of(e.identity))]:
            rank = self._recovered_rank(prefixes.pop(prefix))
            self.ipcache.remove(prefix, rank)
        gone = [key for key in self._recovered_policy if not may_stay(self._cluster_of(key.identity))]
        for key in gone:
            del self._recovered_policy[key]
        self.policies.forget_recovered(gone)
        for cluster in self.services.recovered_clusters():
            if not may_stay(cluster):
                self.services.forget_recovered(cluster)

    def recovered_sizes(self) -> dict[str, int]:
        """How much of an earlier life is still waiting for its owners' word."""
        return {
            "prefixes": len(self._recovered_prefixes),
            "policy": len(self._recovered_policy),
            "clusters": len(self.services.recovered_clusters()),
        }

    def _has_recovered(self) -> bool:
        return bool(self._recovered_prefixes or self._recovered_policy or self.services.recovered_clusters())


def _own_rank(endpoint: Endpoint) -> Rank:
    return Rank(Level.OWN_NODE, owner=str(endpoint.id))


def _own_entries(endpoint: Endpoint | None) -> dict[str, IPCacheEntry]:
    if endpoint is None:
        return {}
    return {host_prefix(ip): IPCacheEntry(endpoint.identity, None) for ip in endpoint.addresses}


def _by_cluster(
    backends: Mapping[Frontend, tuple[Backend, ...]], own: ClusterID
) -> dict[ClusterID, dict[Frontend, tuple[Backend, ...]]]:
    """Other clusters' backends; ours have our id or none and come from Kubernetes."""
    found: dict[ClusterID, dict[Frontend, tuple[Backend, ...]]] = {}
    for frontend, members in backends.items():
        for cluster in {backend.cluster_id for backend in members} - {0, own}:
            mine = tuple(backend for backend in members if backend.cluster_id == cluster)
            found.setdefault(ClusterID(cluster), {})[frontend] = mine
    return found
