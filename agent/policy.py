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

from agent.cidrs import CIDRIdentities
from agent.desired import Clock, Desired
from agent.endpoints import Endpoint
from agent.identities import Identities
from agent.ipcache import IPCache, IPCacheEntry, Level, Rank
from agent.peerports import PeerPorts
from agent.policygroup import (
    Group,
    GroupKey,
    PolicyKey,
    ProgrammedEndpoint,
    by_identity,
    denies,
    group_key,
    has_ranges_in,
    new_group,
    width_of,
)
from mesh.addressing import ClusterName, Identity
from mesh.cidr import Network
from mesh.enforcement import Enforcement
from mesh.identity import Labels
from mesh.namedports import NamedPorts
from mesh.policy import EndpointPolicy, Policy, PolicyEntry, Scope, resolve

CIDR_RANK = Rank(Level.CIDR, owner="policy")


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
        self._groups: dict[GroupKey, Group] = {}
        self._group_of: dict[int, GroupKey] = {}
        self._recovered: dict[PolicyKey, bool] = {}
        self._claimed: dict[str, IPCacheEntry] = {}
        self._is_started = False
        identities.listen(self._identities_changed)
        peer_ports.listen(self._identities_changed)

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
        key = group_key(endpoint)
        group = self._groups.setdefault(key, new_group(endpoint))
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
        return denies(self._groups[group_key].entries.get(key.identity, frozenset())).get(width_of(key))

    def _identities_changed(self, numbers: frozenset[Identity]) -> None:
        if not self._is_started:
            return
        known = {number: self._identities.all[number] for number in numbers if number in self._identities.all}
        for group in self._groups.values():
            new = by_identity(self._resolve(group, known, {}).entries)
            before = {int(number): group.entries.get(int(number), frozenset()) for number in numbers}
            group.has_ranges |= has_ranges_in(entry for number in before for entry in new.get(number, ()))
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

    def _recompute(self, groups: list[Group]) -> None:
        if not self._is_started:
            return
        for group in groups:
            policy = self._resolve(group, self._identities.all, self.cidrs.all)
            before, group.entries = group.entries, by_identity(policy.entries)
            group.enforced, group.egress_enforced = policy.ingress_enforced, policy.egress_enforced
            group.has_ranges = has_ranges_in(policy.entries)
            self._publish(group, before.keys() | group.entries.keys(), before)

    def _resolve(
        self, group: Group, identities: Mapping[Identity, Labels], cidrs: Mapping[Identity, Network]
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
        self, group: Group, identities: Iterable[int], before: Mapping[int, frozenset[PolicyEntry]]
    ) -> None:
        """Hand the difference over for every member, and the members themselves."""
        for number in identities:
            now = denies(group.entries.get(number, frozenset()))
            old = denies(before.get(number, frozenset()))
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
        if new is None or group_key(new) != key:
            for identity, entries in group.entries.items():
                for width in denies(entries):
                    self.entries.remove(PolicyKey(number, identity, *width))
        for address in old.addresses:
            if new is None or address not in new.addresses:
                self.endpoints.remove(address)
        if not group.members:
            del self._groups[key]
