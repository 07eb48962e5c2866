"""Which identities a local endpoint accepts connections from: CiliumNetworkPolicies, ingress (spec 6.4).

Pure. Policies are never distributed: each cluster evaluates its own, over the identities of all clusters.
What we cannot express fails closed and is listed in `Policy.unsupported`: an allow selects less, a deny more.
Does not do egress, CIDRs, layer 7 or mutual authentication.

Whoever looks entries up asks for every width, and a deny of any width beats an allow of any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mesh.addressing import Identity, ReservedIdentity
from mesh.identity import CLUSTER_LABEL, K8S, Label, Labels, reserved_labels
from mesh.policy_parse import Ingress, Policy, PortSpec, Rule, parse_policy
from mesh.selector import Selector
from mesh.service import Port

__all__ = ["EndpointPolicy", "Policy", "PolicyEntry", "Rule", "parse_policy", "resolve"]

ANY = 0  # any identity, any port, any protocol

_PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
_RESERVED = {Identity(number): reserved_labels(number) for number in ReservedIdentity if number}


class PolicyEntry(NamedTuple):
    """`identity`, `port`, `protocol` 0: any. A port always comes with a protocol."""

    identity: int
    port: int
    protocol: int
    deny: bool


@dataclass(frozen=True, slots=True)
class EndpointPolicy:
    """Not enforced: everybody may connect, and there are no entries."""

    ingress_enforced: bool
    entries: frozenset[PolicyEntry] = frozenset()


Match = tuple[int, int, int]  # identity, port, protocol


def resolve(
    policies: Iterable[Policy],
    endpoint_labels: Labels,
    identities: Mapping[Identity, Labels],
    local_cluster: str,
    *,
    default_local_cluster: bool = True,
    named_ports: Mapping[str, Port] | None = None,
) -> EndpointPolicy:
    """What holds for an endpoint. An identity's entries depend on that identity and on the policies alone.

    `default_local_cluster`: a selector that does not name a cluster means ours.
    `named_ports`: the endpoint's, for policies that say a port by its name.
    """
    rules = [rule for policy in policies for rule in policy.rules if rule.subject.matches(endpoint_labels)]
    if not any(rule.default_deny or rule.denies for rule in rules):
        return EndpointPolicy(ingress_enforced=False)
    scope = _Scope({**_RESERVED, **identities}, local_cluster, default_local_cluster, named_ports or {})
    allows = {match for rule in rules for ingress in rule.allows for match in scope.matches(ingress)}
    denies = {match for rule in rules for ingress in rule.denies for match in scope.matches(ingress)}
    allows.add((ReservedIdentity.HOST, ANY, ANY))  # the node's own probes, as Cilium does on Kubernetes
    if not any(rule.default_deny for rule in rules):
        allows.add((ANY, ANY, ANY))
    entries = {PolicyEntry(*match, deny=False) for match in allows - denies}
    return EndpointPolicy(True, frozenset(entries | {PolicyEntry(*match, deny=True) for match in denies}))


@dataclass(frozen=True, slots=True)
class _Scope:
    """What selectors and port names are looked up in."""

    identities: Mapping[Identity, Labels]
    local_cluster: str
    default_local_cluster: bool
    named_ports: Mapping[str, Port]

    def matches(self, ingress: Ingress) -> set[Match]:
        ports = {pair for spec in ingress.ports for pair in self._ports(spec)}
        if not ingress.ports:
            ports = {(ANY, ANY)}
        numbers = {ANY} if ingress.everyone else self._numbers(ingress.peers)
        return {(number, *pair) for number in numbers for pair in ports}

    def _numbers(self, selectors: tuple[Selector, ...]) -> set[int]:
        return {
            int(number)
            for number, labels in self.identities.items()
            if any(self._selects(selector, labels) for selector in selectors)
        }

    def _selects(self, selector: Selector, labels: Labels) -> bool:
        needs_own = selector.own_cluster or (
            self.default_local_cluster and not selector.names_cluster and not selector.is_reserved
        )
        if needs_own and Label(K8S, CLUSTER_LABEL, self.local_cluster) not in labels:
            return False
        return selector.matches(labels)

    def _ports(self, spec: PortSpec) -> Iterable[tuple[int, int]]:
        """A name that the endpoint does not have is no port at all."""
        if not spec.name:
            return [(port, protocol) for port in spec.ports for protocol in spec.protocols]
        named = self.named_ports.get(spec.name)
        protocol = _PROTOCOLS.get(named.protocol, 0) if named else 0
        return [(named.port, protocol)] if named and protocol in spec.protocols else []
