"""What we hold of one peer, and where it goes. No I/O: a `Sink` for `peering.peer`.

Fingerprints are kept for the next compare, the values in the tables that the data path is made of. Everything
that is refused is counted here by reason, and said once per reason; what is refused now is said beside it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agent.addresscheck import AddressCheck, Mode, Recheck
from agent.ipcache import Level, Rank, node_entries
from agent.remoteips import RemoteIPs
from agent.remoteservices import RemoteServices
from agent.tables import Tables
from kvstore.watch import Delta, Holding
from mesh import endpointslice, identity, ipcache, keys, node, service
from mesh.addressing import ClusterID, Identity, PeerScope
from mesh.clusterconfig import ClusterConfig
from mesh.endpointslice import ClusterEndpointSlice
from mesh.identity import SecurityIdentity
from mesh.ipcache import IPEntry
from mesh.keys import Kind
from mesh.node import Node
from mesh.routingmode import objection
from mesh.service import GlobalService
from mesh.servicemode import DEFAULT_KINDS
from peering.imports import Accepted, Import
from peering.refusals import Refusals, reason_of
from peering.report import PeerCounts
from peering.rules import CLAIMS_FILE, Claims
from peering.standing import added

log = logging.getLogger(__name__)

REVOCABLE = (Kind.SERVICES, Kind.ENDPOINTSLICES)  # what an old word of a lost peer must not answer for


class PeerState:
    """`listed_revision` is None until every kind was listed completely in this life of the agent."""

    def __init__(
        self,
        name: str,
        tables: Tables,
        *,
        address_check: Mode = Mode.WARN,
        claims: Claims | None = None,
    ) -> None:
        self.name = name
        self._told_nodes: dict[str, Node] = {}  # also those that the peer may not claim
        self.nodes: dict[str, Node] = {}
        self.cluster_id: ClusterID | None = None
        self.listed_revision: int | None = None
        self._tables = tables
        self._refusals = Refusals()
        self._troubles: dict[str, str] = {}  # now, with what is no entry: key or file, and the reason
        self._objections: dict[str, str] = {}  # nodes that are kept, and may not be reached
        self._kinds: tuple[Kind, ...] = DEFAULT_KINDS
        self._listed: set[Kind] = set()
        self._nodes: Import[Node] = Import(node.decode, node.admit)
        self._identities: Import[SecurityIdentity] = Import(identity.decode, identity.admit)
        self._ips: Import[IPEntry] = Import(ipcache.decode, ipcache.admit, ipcache.plain)
        self._services: Import[GlobalService] = Import(service.decode, service.admit)
        self._slices: Import[ClusterEndpointSlice] = Import(endpointslice.decode, endpointslice.admit)
        self._check = AddressCheck(address_check, self._count, claims)
        self._remote_ips = RemoteIPs(name, tables.ipcache, self._check, tables.peer_ports)
        self._remote = RemoteServices(name, tables.services, self._check)

    @property
    def services(self) -> Mapping[str, GlobalService]:
        """As the peer told them, whatever we make of them."""
        return self._remote.whole

    @property
    def is_listed(self) -> bool:
        return self._listed.issuperset(self._kinds)

    def held(self, kind: Kind) -> Holding:
        return self._import(kind).told

    def counts(self) -> PeerCounts:
        return PeerCounts(
            nodes=len(self._nodes),
            endpoints=len(self._ips),
            identities=len(self._identities),
            services=self._remote.count,
            slices=len(self._slices),
            outside=self._check.outside,
            refusals=dict(self._refusals.counts),
            refused_now=self._refused_now(),
            digests={kind.name.lower(): self._import(kind).digest for kind in self._kinds},
        )

    def begin(self, _remote: ClusterConfig, kinds: Sequence[Kind]) -> None:
        """A connection that imports these kinds; services come one way, or not at all."""
        self._kinds = tuple(kinds)
        self._troubles.pop(keys.cluster_config(self.name).decode(), None)
        for kind in kinds:
            self._import(kind).refused.begin()
        ways = [kind for kind in REVOCABLE if kind in kinds]
        if ways:
            self._remote.read_as(ways[0])
        else:
            self.revoke()

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
            case Kind.ENDPOINTSLICES:
                self._apply_slices(self._noted(kind, self._slices.apply(delta, scope)))
            case _:
                raise ValueError(f"{kind} is not imported")

    def listed(self, kind: Kind, cluster_id: ClusterID) -> None:
        """A kind is complete: what an earlier life left of it and nobody confirmed may go now."""
        self.cluster_id = cluster_id
        self._listed.add(kind)
        if kind is Kind.NODES:
            self._recheck(self._check.listed())
        if kind in REVOCABLE:
            self._drain_services(other for other in REVOCABLE if other is not kind)
        if self.listed_revision is None and self.is_listed:
            self._tables.settle()
            self.listed_revision = self._tables.clock.revision

    def refused(self, key: str, reason: str) -> None:
        """What is no entry of the peer's: its configuration, or the file of what it may claim."""
        self._troubles[key] = reason_of(reason)
        self._count(key, reason)

    def _count(self, key: str, reason: str) -> None:
        """What we would not take; the first of its kind is said."""
        if self._refusals.add(reason) is not None:
            log.warning("peer %s: entry %s: %s", self.name, key, reason)

    def restrict_to(self, claims: Claims) -> None:
        """What the peer may claim from now on; what it has told is looked at again."""
        self._troubles.pop(CLAIMS_FILE, None)
        if self._check.restrict_to(claims) is Recheck.NOTHING:
            return
        for name, told in list(self._told_nodes.items()):
            self._set_node(name, told)
        self._recheck(Recheck.EVERYTHING)
        self._tables.settle()

    def revoke(self) -> None:
        """The peer has been away for too long: what it said of services does not count any more."""
        self._drain_services(REVOCABLE)

    def drain(self) -> None:
        """Forget all of it, exactly: other sources' claims to the same things stay."""
        self._apply_ips(Accepted(removes=self._ips.drain()))
        self._drain_services(REVOCABLE)
        self._apply_nodes(Accepted(removes=self._nodes.drain()))
        self._apply_identities(Accepted(removes=self._identities.drain()))
        self._check.drained()
        self._objections.clear()
        self._listed.clear()
        self.cluster_id = None
        self.listed_revision = None
        self._tables.settle()

    def _refused_now(self) -> dict[str, int]:
        imports = ((kind.name.lower(), self._import(kind).refused.counts) for kind in self._kinds)
        entries = [{f"{name}: {reason}": n for reason, n in counts.items()} for name, counts in imports]
        others = Counter([*self._troubles.values(), *self._objections.values()])
        return added([*entries, self._check.reasons, others])

    def _import(self, kind: Kind) -> Import[Any]:
        imports: dict[Kind, Import[Any]] = {
            Kind.NODES: self._nodes,
            Kind.IDENTITIES: self._identities,
            Kind.IPS: self._ips,
            Kind.SERVICES: self._services,
            Kind.ENDPOINTSLICES: self._slices,
        }
        return imports[kind]

    def _noted(self, kind: Kind, accepted: Accepted[Any]) -> Accepted[Any]:
        for error in accepted.refusals:
            self._count(error.key, f"{kind.name.lower()}: {error.reason}")
        return accepted

    def _drain_services(self, kinds: Iterable[Kind]) -> None:
        for kind in kinds:
            gone: Accepted[Any] = Accepted(removes=self._import(kind).drain())
            if kind is Kind.SERVICES:
                self._apply_services(gone)
            else:
                self._apply_slices(gone)

    def _apply_nodes(self, accepted: Accepted[Node]) -> None:
        changes: list[tuple[str, Node | None]] = [*accepted.upserts.items()]
        changes += [(name, None) for name in accepted.removes]
        verdicts = [self._set_node(name, new) for name, new in changes]
        self._recheck(max(verdicts, default=Recheck.NOTHING))

    def _set_node(self, name: str, told: Node | None) -> Recheck:
        old = self.nodes.pop(name, None)
        self._told_nodes.pop(name, None)
        self._objections.pop(name, None)
        if told is None:
            self._check.forget_node(name)
        else:
            self._told_nodes[name] = told
        new = told if told is not None and self._check.admits_node(told) else None
        if new is not None:
            self.nodes[name] = new
            if reason := objection(new.annotations, self._tables.node.routing_mode):
                self._objections[name] = reason_of(f"nodes: {reason}")
                self._count(name, f"nodes: {reason}")  # and kept: it may just be changing
        rank = Rank(Level.PEER_NODE, self.name, name)
        before = node_entries(old) if old else {}
        self._tables.ipcache.replace(rank, before, node_entries(new) if new else {})
        self._tables.claim_node(rank, new)
        return self._check.changed(old, new)

    def _apply_identities(self, accepted: Accepted[SecurityIdentity]) -> None:
        upserts = {value.id: value.labels for value in accepted.upserts.values()}
        removes = [Identity(int(suffix)) for suffix in accepted.removes]
        if upserts or removes:
            self._tables.identities.commit(upserts, removes)

    def _apply_ips(self, accepted: Accepted[IPEntry]) -> None:
        self._remote_ips.apply(accepted.upserts, accepted.removes)
        self._tables.services.set_addressed(accepted.upserts)

    def _recheck(self, what: Recheck) -> None:
        """The verdict on addresses may have changed."""
        if what is not Recheck.NOTHING:
            self._remote_ips.recheck(what, self._ips)
            self._remote.recheck(what)

    def _apply_services(self, accepted: Accepted[GlobalService]) -> None:
        for key, value in accepted.upserts.items():
            self._remote.set_service(key, value)
        for key in accepted.removes:
            self._remote.set_service(key, None)

    def _apply_slices(self, accepted: Accepted[ClusterEndpointSlice]) -> None:
        for key, value in accepted.upserts.items():
            self._remote.set_slice(key, value)
        for key in accepted.removes:
            self._remote.set_slice(key, None)
