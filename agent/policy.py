"""Who may reach a local endpoint, and whom it may reach: policies x identities x endpoints. Pure: no I/O.

What a policy means is decided by `mesh.policy`. Endpoints with equal labels share one answer, and a
changed identity is resolved alone instead of again with all others. Entries for identities of a peer
that has not been listed since we started are kept as the kernel has them (rule 1).

Order matters to whoever writes this to the kernel: entries before the endpoint's `enforced` flag, else
there is a moment in which a new pod is open, or closed to everybody; and before the ipcache, where a prefix
that a policy names gets an identity of its own, else its addresses are closed to those who may reach them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from agent.cidrs import CIDRIdentities
from agent.desired import Clock, Desired
from agent.endpoints import Endpoint
from agent.identities import Identities
from agent.ipcache import IPCache, IPCacheEntry, Level, Rank
from agent.labels import from_texts
from agent.peerports import PeerPorts
from mesh.addressing import ClusterName, Identity
from mesh.cidr import Network
from mesh.enforcement import Enforcement
from mesh.identity import Labels
from mesh.namedports import NamedPorts, gathered
from mesh.policy import EndpointPolicy, Policy, PolicyEntry, Scope, resolve
from mesh.service import Port

CIDR_RANK = Rank(Level.CIDR, owner="policy")

_GroupKey = tuple[tuple[str, ...], tuple[tuple[str, str, int], ...]]  # labels, named ports
_Width = tuple[int, int, bool, int]  # port, protocol, egress, open bits


class PolicyKey(NamedTuple):
    endpoint: int
    identity: int
    port: int
    protocol: int
    egress: bool = False
    open_bits: int = 0


@dataclass(frozen=True, slots=True)
class ProgrammedEndpoint:
    """An endpoint as the kernel must know it."""

    endpoint: Endpoint
    enforced: bool
    egress_enforced: bool = False
    has_ranges: bool = False


@dataclass(slots=True)
class _Group:
    """Endpoints with the same labels and named ports. `entries` by identity; 0 is "any"."""

    labels: Labels
    named_ports: NamedPorts
    enforced: bool = False
    egress_enforced: bool = False
    has_ranges: bool = False  # once true it stays so while policies stand: it only costs time
    entries: dict[int, frozenset[PolicyEntry]] = field(default_factory=dict)
    members: dict[int, Endpoint] = field(default_factory=dict)


class Policies:
    """Folds policies, identities and endpoints into wanted map entries."""

    def __init__(
        self,
        clock: Clock,
        cluster: ClusterName,
        identities: Identities,
        ipcache: IPCache,
        peer_ports: PeerPorts,
        *,
        default_local_cluster: bool = True,
        dual_stack: bool = False,
        enforcement: Enforcement = Enforcement.DEFAULT,
    ) -> None:
        self.entries: Desired[PolicyKey, bool] = Desired(clock)  # value: deny
        self.endpoints: Desired[str, ProgrammedEndpoint] = Desired(clock)  # key: address
        self._cluster = cluster
        self._default_local_cluster = default_local_cluster
        self._dual_stack = dual_stack
        self._enforcement = enforcement
        self.cidrs = CIDRIdentities(dual_stack=dual_stack)
        self._ipcache = ipcache
        self._peer_ports = peer_ports
        self._identities = identities
        self._policies: dict[str, Policy] = {}
        self._groups: dict[_GroupKey, _Group] = {}
        self._group_of: dict[int, _GroupKey] = {}
        self._recovered: dict[PolicyKey, bool] = {}
        self._claimed: dict[str, IPCacheEntry] = {}
        self._is_started = False
        identities.listen(self._identities_changed)
        peer_ports.listen(self._identities_changed)

    @property
    def is_started(self) -> bool:
        return self._is_started

    @property
    def names(self) -> list[str]:
        return sorted(self._policies)

    @property
    def unsupported(self) -> dict[str, tuple[str, ...]]:
        """Policies with parts that we cannot enforce, and which."""
        return {name: p.unsupported for name, p in sorted(self._policies.items()) if p.unsupported}

    def meaning(
        self, labels: Labels, ports: NamedPorts, identity: Identity
    ) -> tuple[EndpointPolicy, dict[str, EndpointPolicy]]:
        """What all policies, and each that selects it, say to an endpoint about one other identity."""
        known = {identity: self._identities.all[identity]} if identity in self._identities.all else {}
        scope = self._scope(ports, known, self.cidrs.all)
        selecting = {
            key: policy
            for key, policy in self._policies.items()
            if any(rule.subject.matches(labels) for rule in policy.rules)
        }
        single = {key: resolve([policy], labels, scope) for key, policy in selecting.items()}
        return resolve(selecting.values(), labels, scope), single

    def start(self) -> None:
        """Policies and our own identities are listed. Nothing is wanted of the kernel before."""
        self._is_started = True
        self._recompute_all()

    def adopt(self, numbers: Mapping[str, int]) -> None:
        """The identities of prefixes that an earlier life gave out. Call before anything is written."""
        self.cidrs.adopt(numbers)
        self._recompute_all()

    def commit(self, upserts: Mapping[str, Policy], removes: Iterable[str] = ()) -> None:
        """Policies by "namespace/name"."""
        for key in removes:
            self._policies.pop(key, None)
        self._policies.update(upserts)
        self._recompute_all()

    def upsert_endpoint(self, endpoint: Endpoint) -> None:
        self._leave(endpoint.id, new=endpoint)
        key = _group_key(endpoint)
        group = self._groups.setdefault(key, _new_group(endpoint))
        self._group_of[endpoint.id] = key
        fresh = not group.members
        group.members[endpoint.id] = endpoint
        if fresh:
            self._recompute([group])
        elif self._is_started:
            self._publish(group, group.entries.keys(), {})

    def remove_endpoint(self, number: int) -> None:
        self._leave(number, new=None)
        for key in [key for key in self._recovered if key.endpoint == number]:
            del self._recovered[key]
            self.entries.remove(key)

    def set_recovered(self, found: Mapping[PolicyKey, bool]) -> None:
        """Entries of other clusters' identities that the kernel had when we started."""
        self._recovered = dict(found)
        for key, deny in found.items():
            self.entries.upsert(key, deny)

    def forget_recovered(self, keys: Iterable[PolicyKey]) -> None:
        """Their owner has spoken: only what the policies say counts now."""
        for key in keys:
            if self._recovered.pop(key, None) is None:
                continue
            entry = self._computed(key)
            if entry is None:
                self.entries.remove(key)
            else:
                self.entries.upsert(key, entry)

    def _computed(self, key: PolicyKey) -> bool | None:
        group_key = self._group_of.get(key.endpoint)
        if group_key is None:
            return None
        return _denies(self._groups[group_key].entries.get(key.identity, frozenset())).get(_width(key))

    def _identities_changed(self, numbers: frozenset[Identity]) -> None:
        if not self._is_started:
            return
        known = {number: self._identities.all[number] for number in numbers if number in self._identities.all}
        for group in self._groups.values():
            new = _by_identity(self._resolve(group, known, {}).entries)
            before = {int(number): group.entries.get(int(number), frozenset()) for number in numbers}
            group.has_ranges |= _has_ranges(entry for number in before for entry in new.get(number, ()))
            for number in before:
                group.entries.pop(number, None)
                if number in new:
                    group.entries[number] = new[number]
            self._publish(group, before.keys(), before)

    def _recompute_all(self) -> None:
        if not self._is_started:
            return
        named = {p for policy in self._policies.values() for cidr in policy.cidrs() for p in cidr.prefixes}
        self.cidrs.commit(named, set(self.cidrs.all.values()) - named)
        self._recompute(list(self._groups.values()))
        claims = {str(p): IPCacheEntry(int(number), None) for number, p in self.cidrs.all.items()}
        self._ipcache.replace(CIDR_RANK, self._claimed, claims)
        self._claimed = claims

    def _recompute(self, groups: list[_Group]) -> None:
        if not self._is_started:
            return
        for group in groups:
            policy = self._resolve(group, self._identities.all, self.cidrs.all)
            before, group.entries = group.entries, _by_identity(policy.entries)
            group.enforced, group.egress_enforced = policy.ingress_enforced, policy.egress_enforced
            group.has_ranges = _has_ranges(policy.entries)
            self._publish(group, before.keys() | group.entries.keys(), before)

    def _resolve(
        self, group: _Group, identities: Mapping[Identity, Labels], cidrs: Mapping[Identity, Network]
    ) -> EndpointPolicy:
        scope = self._scope(group.named_ports, identities, cidrs)
        return resolve(self._policies.values(), group.labels, scope)

    def _scope(
        self,
        named_ports: NamedPorts,
        identities: Mapping[Identity, Labels],
        cidrs: Mapping[Identity, Network],
    ) -> Scope:
        return Scope(
            identities,
            self._cluster,
            default_local_cluster=self._default_local_cluster,
            named_ports=named_ports,
            peer_ports=self._peer_ports.all,
            cidrs=cidrs,
            dual_stack=self._dual_stack,
            enforcement=self._enforcement,
        )

    def _publish(
        self, group: _Group, identities: Iterable[int], before: Mapping[int, frozenset[PolicyEntry]]
    ) -> None:
        """Hand the difference over for every member, and the members themselves."""
        for number in identities:
            now = _denies(group.entries.get(number, frozenset()))
            old = _denies(before.get(number, frozenset()))
            for member in group.members:
                for width, deny in now.items():
                    self.entries.upsert(PolicyKey(member, number, *width), deny)
                for width in old.keys() - now.keys():
                    self.entries.remove(PolicyKey(member, number, *width))
        flags = (group.enforced, group.egress_enforced, group.has_ranges)
        for endpoint in group.members.values():
            for address in endpoint.addresses:
                self.endpoints.upsert(address, ProgrammedEndpoint(endpoint, *flags))

    def _leave(self, number: int, new: Endpoint | None) -> None:
        """Take an endpoint out of its group; entries that the `new` one's group also has are rewritten."""
        key = self._group_of.pop(number, None)
        if key is None:
            return
        group = self._groups[key]
        old = group.members.pop(number)
        if new is None or _group_key(new) != key:
            for identity, entries in group.entries.items():
                for width in _denies(entries):
                    self.entries.remove(PolicyKey(number, identity, *width))
        for address in old.addresses:
            if new is None or address not in new.addresses:
                self.endpoints.remove(address)
        if not group.members:
            del self._groups[key]


def _by_identity(entries: Iterable[PolicyEntry]) -> dict[int, frozenset[PolicyEntry]]:
    sets: dict[int, set[PolicyEntry]] = {}
    for entry in entries:
        sets.setdefault(entry.identity, set()).add(entry)
    return {number: frozenset(group) for number, group in sets.items()}


def _denies(entries: Iterable[PolicyEntry]) -> dict[_Width, bool]:
    """Which ports, protocol and direction -> deny. Where one rule allows what another denies, deny wins."""
    result: dict[_Width, bool] = {}
    for entry in entries:
        width = _width(entry)
        result[width] = result.get(width, False) or entry.deny
    return result


def _width(entry: PolicyEntry | PolicyKey) -> _Width:
    return entry.port, entry.protocol, entry.egress, entry.open_bits


def _has_ranges(entries: Iterable[PolicyEntry]) -> bool:
    return any(entry.open_bits for entry in entries)


def _group_key(endpoint: Endpoint) -> _GroupKey:
    return endpoint.labels, endpoint.named_ports


def _new_group(endpoint: Endpoint) -> _Group:
    return _Group(from_texts(list(endpoint.labels)), named_ports(endpoint))


def named_ports(endpoint: Endpoint) -> NamedPorts:
    return gathered((name, Port(protocol, port)) for name, protocol, port in endpoint.named_ports)
