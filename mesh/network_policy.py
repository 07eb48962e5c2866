"""Read a Kubernetes NetworkPolicy into the rules that CiliumNetworkPolicies have. Pure.

PolicyError for an object that is none; unknown fields are named in `unsupported`, and a rule that has some
allows nothing. The API knows no denies: being selected closes a direction, rules open it. A peer is of our
own cluster where selectors mean that by default (`policy-default-local-cluster`); an ipBlock means neither
pods nor nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mesh.cidr import parse_cidr_set
from mesh.errors import PolicyError
from mesh.identity import NAMESPACE_LABEL
from mesh.policy_parse import parse_port
from mesh.policy_rules import NOTHING_SAID, PROTOCOLS, Policy, PortSpec, Rule, Side, Traffic
from mesh.selector import Selector, parse_selector

_PEER_FIELDS = frozenset({"podSelector", "namespaceSelector", "ipBlock"})
_DIRECTIONS = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}


def parse_network_policy(said: Mapping[str, Any]) -> Policy:
    metadata, spec = _object(said.get("metadata")), _object(said.get("spec"))
    namespace = str(metadata.get("namespace") or "")
    if not namespace:
        raise PolicyError("a NetworkPolicy needs a namespace")
    parser = _Parser(namespace)
    rule = parser.rule(spec)
    return Policy(namespace, str(metadata.get("name") or ""), (rule,), tuple(sorted(parser.unsupported)))


class _Parser:
    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self.unsupported: set[str] = set()

    def rule(self, spec: Mapping[str, Any]) -> Rule:
        subject = parse_selector(_object(spec.get("podSelector"))).with_label(
            NAMESPACE_LABEL, self._namespace
        )
        types = [str(name) for name in _list(spec.get("policyTypes"))]
        if not types:
            types = ["Ingress", *(["Egress"] if spec.get("egress") else [])]
        unknown = set(types) - _DIRECTIONS.keys()
        if unknown:
            raise PolicyError(f"unknown policy type {min(unknown)!r}")
        ingress, egress = (
            self._side(spec, *words) if name in types else NOTHING_SAID for name, words in _DIRECTIONS.items()
        )
        return Rule(subject, ingress, egress)

    def _side(self, spec: Mapping[str, Any], section: str, way: str) -> Side:
        rules = [self._traffic(_object(said), way) for said in _list(spec.get(section))]
        return Side(tuple(rule for rule in rules if rule), default_deny=True)

    def _traffic(self, said: Mapping[str, Any], way: str) -> Traffic | None:
        """Without peers everybody is meant, the world and the nodes too; without ports every port."""
        if self._has_unknown(said, frozenset({way, "ports"})):
            return None
        ports = tuple(spec for port in _list(said.get("ports")) if (spec := self._port(_object(port))))
        if said.get("ports") and not ports:
            return None
        peers = [_object(peer) for peer in _list(said.get(way))]
        if not peers:
            return Traffic(everyone=True, ports=ports)
        known = [peer for peer in peers if not self._has_unknown(peer, _PEER_FIELDS)]
        selectors = tuple(self._peer(peer) for peer in known if peer.get("ipBlock") is None)
        cidrs = tuple(parse_cidr_set(peer["ipBlock"]) for peer in known if peer.get("ipBlock") is not None)
        return Traffic(selectors, False, ports, cidrs) if selectors or cidrs else None

    def _peer(self, said: Mapping[str, Any]) -> Selector:
        """Pods of our namespace; or of those that a selector names by their labels."""
        pods, namespaces = said.get("podSelector"), said.get("namespaceSelector")
        if pods is None and namespaces is None:
            raise PolicyError("a peer needs a podSelector, a namespaceSelector or an ipBlock")
        selector = parse_selector(pods if pods is not None else {})
        if namespaces is None:
            return selector.with_label(NAMESPACE_LABEL, self._namespace)
        return selector.in_namespaces(parse_selector(namespaces))

    def _port(self, said: Mapping[str, Any]) -> PortSpec | None:
        if self._has_unknown(said, frozenset({"port", "endPort", "protocol"})):
            return None
        protocol = str(said.get("protocol") or "TCP")
        if protocol not in ("TCP", "UDP", "SCTP"):
            self.unsupported.add(f"protocol {protocol}")
            return None
        return parse_port(said.get("port"), said.get("endPort"), PROTOCOLS[protocol])

    def _has_unknown(self, said: Mapping[str, Any], known: frozenset[str]) -> bool:
        unknown = {name for name, value in said.items() if value is not None} - known
        self.unsupported |= unknown
        return bool(unknown)


def _object(said: object) -> Mapping[str, Any]:
    if said is None:
        return {}
    if not isinstance(said, Mapping):
        raise PolicyError(f"an object is needed, not {type(said).__name__}")
    return said


def _list(said: object) -> list[Any]:
    if said is None:
        return []
    if not isinstance(said, list):
        raise PolicyError(f"a list is needed, not {type(said).__name__}")
    return said
