"""What a local endpoint accepts and what it may reach, by policies (spec 6.4).

Pure. Policies are never distributed: each cluster evaluates its own, over the identities of all clusters.
What we cannot express fails closed and is listed in `Policy.unsupported`: an allow selects less, a deny more.
Does not do layer 7 or mutual authentication.

Whoever looks entries up asks for every width, and a deny of any width beats an allow of any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from mesh.addressing import Identity, ReservedIdentity
from mesh.cidr import EVERYWHERE, Network, covered, labels_of
from mesh.enforcement import Enforcement
from mesh.identity import CLUSTER_LABEL, K8S, Label, Labels, reserved_labels
from mesh.namedports import NamedPorts, from_labels, merged
from mesh.policy_parse import parse_policy
from mesh.policy_rules import Policy, PortSpec, Rule, Side, Traffic
from mesh.portrange import LAST_PORT, port_blocks
from mesh.selector import Selector

__all__ = ["EndpointPolicy", "Policy", "PolicyEntry", "Rule", "parse_policy", "resolve"]

ANY = 0  # any identity, any port, any protocol

_RESERVED = {Identity(number): reserved_labels(number) for number in ReservedIdentity if number}
_WORLD = {Identity(ReservedIdentity.WORLD): EVERYWHERE}
_PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
_NO_PORTS: NamedPorts = {}


class PolicyEntry(NamedTuple):
    """`identity`, `port`, `protocol` 0: any. A port always comes with a protocol.

    The last `open_bits` bits of the port do not count: they are 0.
    """

    identity: int
    port: int
    protocol: int
    deny: bool
    egress: bool = False
    open_bits: int = 0


@dataclass(frozen=True, slots=True)
class EndpointPolicy:
    """A direction that is not enforced is open to everybody, and has no entries."""

    ingress_enforced: bool
    entries: frozenset[PolicyEntry] = frozenset()
    egress_enforced: bool = False


Match = tuple[int, int, int, int]  # identity, port, protocol, open bits


@dataclass(frozen=True)
class Scope:
    """What selectors, prefixes and port names are looked up in.

    `default_local_cluster`: a selector that does not name a cluster means ours.
    `named_ports`: the endpoint's own, for what connects to it; `peer_ports`: those behind other identities.
    `cidrs`: which identity each prefix has here; those are not in `identities`. `dual_stack`: addresses of
    both families are without an identity of their own, so that the world's is no family's.
    """

    identities: Mapping[Identity, Labels]
    local_cluster: str
    default_local_cluster: bool = True
    named_ports: NamedPorts = field(default_factory=dict)
    peer_ports: Mapping[Identity, NamedPorts] = field(default_factory=dict)
    cidrs: Mapping[Identity, Network] = field(default_factory=dict)
    dual_stack: bool = False
    enforcement: Enforcement = Enforcement.DEFAULT

    @cached_property
    def prefixes(self) -> Mapping[Identity, Network]:
        return self.cidrs if self.dual_stack else {**_WORLD, **self.cidrs}

    @cached_property
    def labels(self) -> Mapping[Identity, Labels]:
        return {
            **_RESERVED,
            **{number: labels_of(prefix) for number, prefix in self.cidrs.items()},
            **self.identities,
        }

    def ports_of(self, number: int) -> NamedPorts:
        """What the pods behind an identity call their ports, as they or its labels say."""
        told = self.peer_ports.get(Identity(number), _NO_PORTS)
        return merged(told, from_labels(self.labels.get(Identity(number), ())))

    def selects(self, selector: Selector, labels: Labels) -> bool:
        needs_own = selector.own_cluster or (
            self.default_local_cluster and not selector.names_cluster and not selector.is_reserved
        )
        if needs_own and Label(K8S, CLUSTER_LABEL, self.local_cluster) not in labels:
            return False
        return selector.matches(labels)


def resolve(policies: Iterable[Policy], endpoint_labels: Labels, scope: Scope) -> EndpointPolicy:
    """What holds for an endpoint. An identity's entries depend on that identity and on the policies alone."""
    rules = [rule for policy in policies for rule in policy.rules if rule.subject.matches(endpoint_labels)]
    ingress = _side([rule.ingress for rule in rules], scope, egress=False)
    egress = _side([rule.egress for rule in rules], scope, egress=True)
    return EndpointPolicy(
        ingress is not None,
        (ingress or frozenset()) | (egress or frozenset()),
        egress is not None,
    )


def _side(sides: list[Side], scope: Scope, *, egress: bool) -> frozenset[PolicyEntry] | None:
    """The entries of one direction; None: not enforced."""
    if not _is_enforced(sides, scope.enforcement):
        return None
    allows = {match for side in sides for item in side.allows for match in _matches(item, scope, egress)}
    denies = {match for side in sides for item in side.denies for match in _matches(item, scope, egress)}
    if not egress:
        allows.add((ReservedIdentity.HOST, ANY, ANY, 0))  # the node's own probes, as Cilium does
    if scope.enforcement is not Enforcement.ALWAYS and not any(side.default_deny for side in sides):
        allows.add((ANY, ANY, ANY, 0))
    return frozenset(
        PolicyEntry(number, port, protocol, deny, egress, bits)
        for deny, matches in ((False, allows - denies), (True, denies))
        for number, port, protocol, bits in matches
    )


def _is_enforced(sides: list[Side], mode: Enforcement) -> bool:
    if mode is Enforcement.DEFAULT:
        return any(side.default_deny or side.denies for side in sides)
    return mode is Enforcement.ALWAYS


def _matches(item: Traffic, scope: Scope, egress: bool) -> Iterable[Match]:
    numbers = {ANY} if item.everyone else _numbers(item, scope)
    if not item.ports:
        return {(number, ANY, ANY, 0) for number in numbers}
    fixed = {block for spec in item.ports if not spec.name for block in _blocks(spec)}
    matches = {(number, *block) for number in numbers for block in fixed}
    for spec in (spec for spec in item.ports if spec.name):
        if egress:
            asked = scope.labels if item.everyone else numbers
            matches |= {(int(n), *block) for n in asked for block in _named(spec, scope.ports_of(n))}
        else:
            matches |= {(n, *block) for n in numbers for block in _named(spec, scope.named_ports)}
    return matches


def _numbers(item: Traffic, scope: Scope) -> set[int]:
    found = {
        int(number)
        for number, labels in (scope.labels.items() if item.peers else ())
        if any(scope.selects(selector, labels) for selector in item.peers)
    }
    return found | set(map(int, covered(item.cidrs, scope.prefixes) if item.cidrs else ()))


def _blocks(spec: PortSpec) -> list[tuple[int, int, int]]:
    """(port, protocol, open bits) of a spec in numbers."""
    is_all = (spec.first <= 1 and spec.last == LAST_PORT) or not spec.last
    blocks = [(ANY, 0)] if is_all else list(port_blocks(spec.first, spec.last))
    return [(port, protocol, bits) for port, bits in blocks for protocol in spec.protocols]


def _named(spec: PortSpec, ports: NamedPorts) -> list[tuple[int, int, int]]:
    """A name that nobody has is no port at all."""
    numbers = [(port.port, _PROTOCOLS.get(port.protocol, ANY)) for port in ports.get(spec.name, ())]
    return [(port, protocol, 0) for port, protocol in numbers if protocol in spec.protocols]
