"""Which peers may reach which local endpoint: policies x identities x endpoints. Pure: no I/O, no clock.

What a policy means is decided by `mesh.policy`. Endpoints with equal labels share one answer, and a
changed identity is resolved alone instead of again with all others. Entries for identities of a peer
that has not been listed since we started are kept as the kernel has them (rule 1).

Order matters to whoever writes this to the kernel: entries before the endpoint's `enforced` flag, else
there is a moment in which a new pod is open, or closed to everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from agent.desired import Clock, Desired
from agent.endpoints import Endpoint
from agent.identities import Identities
from agent.labels import from_texts
from mesh.addressing import ClusterName, Identity
from mesh.identity import Labels
from mesh.policy import Policy, PolicyEntry, resolve


class PolicyKey(NamedTuple):
    endpoint: int
    identity: int
    port: int
    protocol: int


@dataclass(frozen=True, slots=True)
class ProgrammedEndpoint:
    """An endpoint as the kernel must know it."""

    endpoint: Endpoint
    enforced: bool


@dataclass(slots=True)
class _Group:
    """Endpoints with the same labels. `entries` by identity; 0 is "any"."""

    labels: Labels
    enforced: bool = False
    entries: dict[int, frozenset[PolicyEntry]] = field(default_factory=dict)
    members: dict[int, Endpoint] = field(default_factory=dict)


class Policies:
    """Folds policies, identities and endpoints into wanted map entries."""

    def __init__(self, clock: Clock, cluster: ClusterName, identities: Identities) -> None:
        self.entries: Desired[PolicyKey, bool] = Desired(clock)  # value: deny
        self.endpoints: Desired[str, ProgrammedEndpoint] = Desired(clock)  # key: address
        self._cluster = cluster
        self._identities = identities
        self._policies: dict[str, Policy] = {}
        self._groups: dict[tuple[str, ...], _Group] = {}
        self._group_of: dict[int, tuple[str, ...]] = {}
        self._recovered: dict[PolicyKey, bool] = {}
        self._is_started = False
        identities.listen(self._identities_changed)

    @property
    def is_started(self) -> bool:
        return self._is_started

    @property
    def names(self) -> list[str]:
        return sorted(self._policies)

    @property
    def unsupported(self) -> dict[str, tuple[str, ...]]:
        """Policies with parts that we cannot enforce, and which. Egress is one: it stays open."""
        return {name: p.unsupported for name, p in sorted(self._policies.items()) if p.unsupported}

    def start(self) -> None:
        """Policies and our own identities are listed. Nothing is wanted of the kernel before."""
        self._is_started = True
        self._recompute(list(self._groups.values()))

    def commit(self, upserts: Mapping[str, Policy], removes: Iterable[str] = ()) -> None:
        """Policies by "namespace/name"."""
        for key in removes:
            self._policies.pop(key, None)
        self._policies.update(upserts)
        self._recompute(list(self._groups.values()))

    def upsert_endpoint(self, endpoint: Endpoint) -> None:
        self._leave(endpoint.id, new=endpoint)
        group = self._groups.setdefault(endpoint.labels, _Group(from_texts(list(endpoint.labels))))
        self._group_of[endpoint.id] = endpoint.labels
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
        group = self._groups.get(self._group_of.get(key.endpoint, ()))
        entries = group.entries.get(key.identity, frozenset()) if group else frozenset[PolicyEntry]()
        denies = [e.deny for e in entries if (e.port, e.protocol) == (key.port, key.protocol)]
        return any(denies) if denies else None

    def _identities_changed(self, numbers: frozenset[Identity]) -> None:
        if not self._is_started:
            return
        known = {number: self._identities.all[number] for number in numbers if number in self._identities.all}
        for group in self._groups.values():
            policy = resolve(self._policies.values(), group.labels, known, self._cluster)
            new = _by_identity(policy.entries)
            before = {int(number): group.entries.get(int(number), frozenset()) for number in numbers}
            for number in before:
                group.entries.pop(number, None)
                if number in new:
                    group.entries[number] = new[number]
            self._publish(group, before.keys(), before)

    def _recompute(self, groups: list[_Group]) -> None:
        if not self._is_started:
            return
        for group in groups:
            policy = resolve(self._policies.values(), group.labels, self._identities.all, self._cluster)
            before, group.entries = group.entries, {}
            group.enforced = policy.ingress_enforced
            if policy.ingress_enforced:
                group.entries = _by_identity(policy.entries)
            self._publish(group, before.keys() | group.entries.keys(), before)

    def _publish(
        self, group: _Group, identities: Iterable[int], before: Mapping[int, frozenset[PolicyEntry]]
    ) -> None:
        """Hand the difference over for every member, and the members themselves."""
        for number in identities:
            now = _denies(group.entries.get(number, frozenset()))
            old = _denies(before.get(number, frozenset()))
            for member in group.members:
                for (port, protocol), deny in now.items():
                    self.entries.upsert(PolicyKey(member, number, port, protocol), deny)
                for port, protocol in old.keys() - now.keys():
                    self.entries.remove(PolicyKey(member, number, port, protocol))
        for endpoint in group.members.values():
            self.endpoints.upsert(endpoint.ipv4, ProgrammedEndpoint(endpoint, group.enforced))

    def _leave(self, number: int, new: Endpoint | None) -> None:
        """Take an endpoint out of its group; entries that the `new` one's group also has are rewritten."""
        labels = self._group_of.pop(number, None)
        if labels is None:
            return
        group = self._groups[labels]
        old = group.members.pop(number)
        if new is None or new.labels != old.labels:
            for identity, entries in group.entries.items():
                for port, protocol in _denies(entries):
                    self.entries.remove(PolicyKey(number, identity, port, protocol))
        if new is None or new.ipv4 != old.ipv4:
            self.endpoints.remove(old.ipv4)
        if not group.members:
            del self._groups[labels]


def _by_identity(entries: Iterable[PolicyEntry]) -> dict[int, frozenset[PolicyEntry]]:
    sets: dict[int, set[PolicyEntry]] = {}
    for entry in entries:
        sets.setdefault(entry.identity, set()).add(entry)
    return {number: frozenset(group) for number, group in sets.items()}


def _denies(entries: Iterable[PolicyEntry]) -> dict[tuple[int, int], bool]:
    """(port, protocol) -> deny. Where a rule allows and another denies the same, deny wins."""
    result: dict[tuple[int, int], bool] = {}
    for entry in entries:
        key = (entry.port, entry.protocol)
        result[key] = result.get(key, False) or entry.deny
    return result
