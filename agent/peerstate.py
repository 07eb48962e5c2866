"""What we hold of one peer, and where it goes. No I/O: a `Sink` for `agent.peer`.

The bytes are kept for the next compare, the values in the tables that the data path is made of.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from agent.convert import prefix_of, remote_entry
from agent.imports import Accepted, Import
from agent.ipcache import Level, Rank, node_entries
from agent.peerstatus import IMPORTED_KINDS, PeerCounts
from agent.refusals import Refusals
from agent.tables import Tables
from kvstore.watch import Delta
from mesh import identity, ipcache, node, service
from mesh.addressing import ClusterID, Identity, PeerScope
from mesh.identity import SecurityIdentity
from mesh.ipcache import IPEntry
from mesh.keys import Kind
from mesh.node import Node
from mesh.service import GlobalService

log = logging.getLogger(__name__)


class PeerState:
    """`listed_revision` is None until every kind was listed completely in this life of the agent."""

    def __init__(self, name: str, tables: Tables) -> None:
        self.name = name
        self.nodes: dict[str, Node] = {}
        self.services: dict[str, GlobalService] = {}
        self.cluster_id: ClusterID | None = None
        self.listed_revision: int | None = None
        self._tables = tables
        self._refusals = Refusals()
        self._listed: set[Kind] = set()
        self._nodes: Import[Node] = Import(node.decode, node.admit)
        self._identities: Import[SecurityIdentity] = Import(identity.decode, identity.admit)
        self._ips: Import[IPEntry] = Import(ipcache.decode, ipcache.admit)
        self._services: Import[GlobalService] = Import(service.decode, service.admit)
        self._endpoint_rank = Rank(Level.PEER_ENDPOINT, name)

    def held(self, kind: Kind) -> Mapping[bytes, bytes]:
        return self._import(kind).held

    def counts(self) -> PeerCounts:
        return PeerCounts(
            nodes=len(self._nodes.held),
            endpoints=len(self._ips.held),
            identities=len(self._identities.held),
            services=len(self._services.held),
            refusals=dict(self._refusals.counts),
            digests={kind.name.lower(): self._import(kind).digest for kind in IMPORTED_KINDS},
        )

    def apply(self, kind: Kind, delta: Delta, scope: PeerScope) -> None:
        match kind:
            case Kind.NODES:
                self._apply_nodes(self._noted(kind, self._nodes.apply(delta, scope)))
            case Kind.IDENTITIES:
                self._apply_identities(self._noted(kind, self._identities.apply(delta, scope)))
            case Kind.IPS:
                self._apply_ips(self._noted(kind, self._ips.apply(delta, scope)))
            case Kind.SERVICES:
                self._apply_services(self._noted(kind, self._services.apply(delta, scope)))
            case _:
                raise ValueError(f"{kind} is not imported")

    def listed(self, kind: Kind, cluster_id: ClusterID) -> None:
        """A kind is complete: what an earlier life left of it and nobody confirmed may go now."""
        self.cluster_id = cluster_id
        self._listed.add(kind)
        if self.listed_revision is None and self._listed.issuperset(IMPORTED_KINDS):
            self._tables.settle()
            self.listed_revision = self._tables.clock.revision

    @property
    def is_listed(self) -> bool:
        return self._listed.issuperset(IMPORTED_KINDS)

    def drain(self) -> None:
        """Forget all of it, exactly: other sources' claims to the same things stay."""
        self._apply_ips(Accepted(removes=self._ips.drain()))
        self._apply_nodes(Accepted(removes=self._nodes.drain()))
        self._apply_identities(Accepted(removes=self._identities.drain()))
        self._apply_services(Accepted(removes=self._services.drain()))
        self._listed.clear()
        self.cluster_id = None
        self.listed_revision = None
        self._tables.settle()

    def _import(self, kind: Kind) -> Import[Any]:
        imports: dict[Kind, Import[Any]] = {
            Kind.NODES: self._nodes,
            Kind.IDENTITIES: self._identities,
            Kind.IPS: self._ips,
            Kind.SERVICES: self._services,
        }
        return imports[kind]

    def _noted(self, kind: Kind, accepted: Accepted[Any]) -> Accepted[Any]:
        for error in accepted.refusals:
            if self._refusals.add(f"{kind.name.lower()}: {error.reason}") is not None:
                log.warning("peer %s: %s refused: %s", self.name, error.key, error.reason)
        return accepted

    def _apply_nodes(self, accepted: Accepted[Node]) -> None:
        for name, new in accepted.upserts.items():
            self._replace_node(name, self.nodes.get(name), new)
            self.nodes[name] = new
        for name in accepted.removes:
            self._replace_node(name, self.nodes.pop(name, None), None)

    def _replace_node(self, name: str, old: Node | None, new: Node | None) -> None:
        rank = Rank(Level.PEER_NODE, self.name, name)
        before = node_entries(old) if old else {}
        self._tables.ipcache.replace(rank, before, node_entries(new) if new else {})

    def _apply_identities(self, accepted: Accepted[SecurityIdentity]) -> None:
        upserts = {value.id: value.labels for value in accepted.upserts.values()}
        removes = [Identity(int(suffix)) for suffix in accepted.removes]
        if upserts or removes:
            self._tables.identities.commit(upserts, removes)

    def _apply_ips(self, accepted: Accepted[IPEntry]) -> None:
        ipcache_table = self._tables.ipcache
        for suffix, entry in accepted.upserts.items():
            ipcache_table.upsert(prefix_of(suffix), self._ip_rank(suffix), remote_entry(entry))
        for suffix in accepted.removes:
            ipcache_table.remove(prefix_of(suffix), self._ip_rank(suffix))

    def _ip_rank(self, suffix: str) -> Rank:
        """Two keys may name one prefix (`10.0.0.1` and `10.0.0.1/32`): then they are two claims."""
        return self._endpoint_rank if "/" not in suffix else self._endpoint_rank._replace(owner=suffix)

    def _apply_services(self, accepted: Accepted[GlobalService]) -> None:
        for key, value in accepted.upserts.items():
            self.services[key] = value
            self._tables.services.set_remote(self.name, key, value)
        for key in accepted.removes:
            self.services.pop(key, None)
            self._tables.services.set_remote(self.name, key, None)
