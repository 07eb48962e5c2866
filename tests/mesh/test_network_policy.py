"""NetworkPolicies against an evaluator that knows only what the Kubernetes API says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.addressing import Identity
from mesh.errors import PolicyError
from mesh.identity import Labels, parse_labels
from mesh.network_policy import parse_network_policy
from mesh.policy import Scope, resolve
from mesh.service import Port
from tests.mesh.test_policy import allowed

NAMESPACES = {"shop": {"team": "a"}, "test": {"team": "b"}, "bare": {}}


@dataclass(frozen=True)
class Pod:
    namespace: str
    app: str
    cluster: str = "east"

    @property
    def labels(self) -> Labels:
        prefix = "k8s:io.cilium.k8s.namespace.labels."
        of_namespace = "".join(f"{prefix}{k}={v};" for k, v in NAMESPACES[self.namespace].items())
        return parse_labels(
            f"k8s:app={self.app};k8s:io.cilium.k8s.policy.cluster={self.cluster};"
            f"k8s:io.kubernetes.pod.namespace={self.namespace};{of_namespace}"
        )


PODS = [Pod(n, a) for n in NAMESPACES for a in ("web", "client")] + [Pod("shop", "client", "west")]
NUMBERS = {Identity(65536 + n): pod for n, pod in enumerate(PODS)}
HTTP = Port("TCP", 8080)


def network_policy(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": "shop"}, "spec": spec}


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def is_peer(peer: dict[str, Any], other: Pod | IPv4Address) -> bool:
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        return (
            isinstance(other, IPv4Address)
            and other in IPv4Network(block["cidr"])
            and not any(other in IPv4Network(item) for item in block.get("except", []))
        )
    if not isinstance(other, Pod) or other.cluster != "east":
        return False
    if "namespaceSelector" in peer:
        in_namespace = selects(peer["namespaceSelector"], NAMESPACES[other.namespace])
    else:
        in_namespace = other.namespace == "shop"
    return in_namespace and selects(peer.get("podSelector", {}), {"app": other.app})


def is_port(said: dict[str, Any], port: int) -> bool:
    """TCP only; `http` is 8080 everywhere."""
    if said.get("protocol", "TCP") != "TCP":
        return False
    first = said.get("port")
    if first is None:
        return True
    first = HTTP.port if first == "http" else first
    return bool(first <= port <= said.get("endPort", first))


def reference(
    policies: list[dict[str, Any]], pod: Pod, direction: str, other: Pod | IPv4Address, port: int
) -> bool:
    section, way = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    selecting = []
    for policy in policies:
        spec = policy["spec"]
        default = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
        is_mine = pod.namespace == "shop" and selects(spec.get("podSelector", {}), {"app": pod.app})
        if is_mine and direction in (spec.get("policyTypes") or default):
            selecting.append(spec)
    if not selecting:
        return True
    return any(
        (not rule.get(way) or any(is_peer(peer, other) for peer in rule[way]))
        and (not rule.get("ports") or any(is_port(said, port) for said in rule["ports"]))
        for spec in selecting
        for rule in spec.get(section) or []
    )


labels = st.sampled_from([{}, {"matchLabels": {"app": "web"}}, {"matchLabels": {"app": "client"}}])
of_namespaces = st.sampled_from(
    [{}, {"matchLabels": {"team": "a"}}, {"matchLabels": {"team": "b"}}, {"matchLabels": {"team": "c"}}]
)
blocks = st.sampled_from(
    [
        {"cidr": "0.0.0.0/0"},
        {"cidr": "192.0.2.0/24"},
        {"cidr": "0.0.0.0/0", "except": ["192.0.2.0/24"]},
        {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25", "192.0.2.1/32"]},
    ]
)
peers = (
    st.fixed_dictionaries({"podSelector": labels}, optional={"namespaceSelector": of_namespaces})
    | st.fixed_dictionaries({"namespaceSelector": of_namespaces})
    | st.fixed_dictionaries({"ipBlock": blocks})
)
ports = st.sampled_from(
    [{}, {"port": 80}, {"port": "http"}, {"port": 79, "endPort": 9000}, {"protocol": "UDP", "port": 80}]
)


def rules(way: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    optional = {way: st.lists(peers, max_size=2), "ports": st.lists(ports, max_size=2)}
    return st.lists(st.fixed_dictionaries({}, optional=optional), max_size=2)


policies = st.lists(
    st.fixed_dictionaries(
        {"podSelector": labels},
        optional={
            "ingress": rules("from"),
            "egress": rules("to"),
            "policyTypes": st.sampled_from([[], ["Ingress"], ["Egress"], ["Ingress", "Egress"]]),
        },
    ).map(lambda spec: network_policy(**spec)),
    max_size=3,
)
others = st.sampled_from([*NUMBERS]) | st.sampled_from(
    [*map(IPv4Address, ("192.0.2.1", "192.0.2.2", "192.0.2.200", "198.51.100.1"))]
)


@given(
    policies,
    st.sampled_from(PODS[:-1]),
    st.sampled_from(["Ingress", "Egress"]),
    others,
    st.sampled_from([80, 8080, 9001]),
)
def test_verdicts_are_those_of_the_api(
    said: list[dict[str, Any]], pod: Pod, direction: str, other: Identity | IPv4Address, port: int
) -> None:
    parsed = [parse_network_policy(item) for item in said]
    named = {p for policy in parsed for cidr in policy.cidrs() for p in cidr.prefixes if p.prefixlen}
    prefixes = {Identity((1 << 24) + n): prefix for n, prefix in enumerate(sorted(named), 1)}
    scope = Scope(
        {number: each.labels for number, each in NUMBERS.items()},
        "east",
        named_ports={"http": (HTTP,)},
        peer_ports={number: {"http": (HTTP,)} for number in NUMBERS},
        cidrs=prefixes,
    )
    if isinstance(other, IPv4Address):
        around = [(prefix.prefixlen, number) for number, prefix in prefixes.items() if other in prefix]
        identity, asked = (int(max(around)[1]) if around else 2), other
        if direction == "Egress" and any("http" in str(item) for item in said):
            return  # nobody outside names a port; the API does not say what a name means there
    else:
        identity, asked = int(other), NUMBERS[other]
    result = resolve(parsed, pod.labels, scope)
    found = allowed(result, identity, port, 6, egress=direction == "Egress")
    assert found == reference(said, pod, direction, asked, port)


def test_a_policy_without_types_is_for_ingress_and_for_egress_if_it_has_any() -> None:
    (alone,) = parse_network_policy(network_policy()).rules
    assert (alone.ingress.default_deny, alone.egress.default_deny) == (True, False)
    (both,) = parse_network_policy(network_policy(egress=[{}])).rules
    assert (both.ingress.default_deny, both.egress.default_deny) == (True, True)
    (egress,) = parse_network_policy(network_policy(policyTypes=["Egress"])).rules
    assert (egress.ingress.default_deny, egress.egress.default_deny) == (False, True)


@pytest.mark.parametrize(
    ("rule", "unsupported"),
    [
        ({"from": [{"podSelector": {}, "tomorrow": {}}]}, "tomorrow"),
        ({"tomorrow": []}, "tomorrow"),
        ({"ports": [{"protocol": "ICMP"}]}, "protocol ICMP"),
        ({"ports": [{"port": 1, "tomorrow": 1}]}, "tomorrow"),
    ],
)
def test_what_we_do_not_know_allows_nothing_and_is_named(rule: dict[str, Any], unsupported: str) -> None:
    parsed = parse_network_policy(network_policy(ingress=[rule]))
    assert parsed.rules[0].ingress.allows == ()
    assert parsed.unsupported == (unsupported,)


@pytest.mark.parametrize(
    "said",
    [
        {"metadata": {"name": "p"}, "spec": {}},
        {"metadata": [], "spec": {}},
        network_policy(podSelector=[]),
        network_policy(podSelector={"matchLabels": []}),
        network_policy(policyTypes=["Sideways"]),
        network_policy(ingress={}),
        network_policy(ingress=["x"]),
        network_policy(ingress=[{"from": [{}]}]),
        network_policy(ingress=[{"from": {}}]),
        network_policy(ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]}]),
        network_policy(ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8"]}}]}]),
        network_policy(ingress=[{"ports": [{"port": 65536}]}]),
    ],
)
def test_what_is_no_network_policy_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        parse_network_policy(said)
