from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import PolicyError
from mesh.identity import parse_labels
from mesh.policy_parse import parse_policy
from mesh.policy_rules import Traffic

CLIENT = parse_labels("k8s:app=client;k8s:io.kubernetes.pod.namespace=test;")
FROM = [{"matchLabels": {"app": "client"}}]


def policy(namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": namespace}, "spec": {"endpointSelector": {}, **spec}}


def test_an_object_keeps_its_name() -> None:
    parsed = parse_policy(policy(ingress=[{}]))
    assert (parsed.namespace, parsed.name, parsed.unsupported) == ("shop", "p", ())


def test_a_cluster_wide_policy_means_pods_of_every_namespace() -> None:
    (rule,) = parse_policy(policy(namespace="", ingress=[{"fromEndpoints": FROM}])).rules
    assert rule.subject.matches(CLIENT)
    (peer,) = rule.ingress.allows[0].peers
    assert peer.matches(CLIENT)
    assert not peer.matches(parse_labels("k8s:app=client;"))


def test_reserved_labels_are_in_no_namespace() -> None:
    said = [{"matchLabels": {"reserved:ingress": ""}}]
    (rule,) = parse_policy(policy(ingress=[{"fromEndpoints": said}])).rules
    assert rule.ingress.allows[0].peers[0].matches(parse_labels("reserved:ingress=;"))


@pytest.mark.parametrize(
    ("section", "unsupported"),
    [
        ({"fromGroups": [{}]}, "fromGroups"),
        ({"fromCIDRSet": [{"cidrGroupRef": "g"}]}, "fromCIDRSet of groups"),
        ({"fromEndpoints": FROM, "fromRequires": FROM}, "fromRequires"),
        ({"fromEndpoints": FROM, "authentication": {"mode": "required"}}, "authentication"),
        ({"fromEndpoints": FROM, "tomorrow": True}, "tomorrow"),
        ({"toPorts": [{"ports": [{"port": "80"}], "rules": {"http": [{}]}}]}, "toPorts.rules"),
        ({"toPorts": [{"ports": [{"protocol": "ICMP"}]}]}, "protocol ICMP"),
    ],
)
def test_what_we_cannot_express_allows_nothing_and_denies_more(section: Any, unsupported: str) -> None:
    parsed = parse_policy(policy(ingress=[section]))
    assert parsed.rules[0].ingress.allows == ()
    assert parsed.rules[0].ingress.default_deny
    assert parsed.unsupported[0].startswith(unsupported)
    (rule,) = parse_policy(policy(ingressDeny=[section])).rules
    assert len(rule.ingress.denies) == 1


def test_a_deny_of_what_we_do_not_know_is_for_everybody_on_every_port() -> None:
    ports = [{"ports": [{"port": "80"}]}]
    (rule,) = parse_policy(policy(ingressDeny=[{"fromGroups": [{}], "toPorts": ports}])).rules
    assert rule.ingress.denies == (Traffic(everyone=True),)


def test_peers_beside_those_we_do_not_know_are_allowed() -> None:
    (rule,) = parse_policy(policy(ingress=[{"fromGroups": [{}], "fromEndpoints": FROM}])).rules
    assert len(rule.ingress.allows[0].peers) == 1


def test_egress_is_read_like_ingress() -> None:
    (rule,) = parse_policy(policy(egress=[{"toEndpoints": FROM}], egressDeny=[{"toFQDNs": [{}]}])).rules
    assert (rule.ingress.default_deny, rule.egress.default_deny) == (False, True)
    assert len(rule.egress.allows[0].peers) == 1
    assert rule.egress.denies == (Traffic(everyone=True),)


def test_prefixes_of_both_families_are_read() -> None:
    block = {"cidr": "2001:DB8::/32", "except": ["2001:db8:1::/48"]}
    entities = ["world-ipv6"]
    said = policy(ingress=[{"fromCIDR": ["fd00::1", "10.0.0.0/8"], "fromCIDRSet": [block]}])
    (item,) = parse_policy(said).rules[0].ingress.allows
    assert [str(cidr.prefix) for cidr in item.cidrs] == ["fd00::1/128", "10.0.0.0/8", "2001:db8::/32"]
    assert [str(each) for each in item.cidrs[2].excepts] == ["2001:db8:1::/48"]
    (world,) = parse_policy(policy(ingress=[{"fromEntities": entities}])).rules[0].ingress.allows
    assert [str(cidr.prefix) for cidr in world.cidrs] == ["::/0"]


def test_an_exception_of_another_family_is_none() -> None:
    with pytest.raises(PolicyError, match="not inside"):
        parse_policy(policy(ingress=[{"fromCIDRSet": [{"cidr": "::/0", "except": ["10.0.0.0/8"]}]}]))


def test_node_policies_are_named_and_close_nothing() -> None:
    parsed = parse_policy({"spec": {"nodeSelector": {}, "ingress": [{}]}})
    assert parsed.unsupported == ("nodeSelector",)
    assert not parsed.rules[0].subject.matches(CLIENT)


@pytest.mark.parametrize(
    "said",
    [
        {"metadata": []},
        {"spec": []},
        {"spec": {}},
        {"specs": {}},
        {"spec": {"endpointSelector": []}},
        policy(ingress={}),
        policy(ingress=["x"]),
        policy(ingress=[{"fromEndpoints": {}}]),
        policy(ingress=[{"fromEndpoints": ["x"]}]),
        policy(ingress=[{"fromEntities": ["everyone"]}]),
        policy(ingress=[{"fromCIDR": ["10.0.0.0/33"]}]),
        policy(ingress=[{"fromCIDR": [10]}]),
        policy(egress=[{"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8"]}]}]),
        policy(egress=[{"toCIDRSet": ["10.0.0.0/8"]}]),
        policy(egress=[{"icmps": [{"fields": [{"type": 256}]}]}]),
        policy(egress=[{"icmps": [{"fields": ["x"]}]}]),
        policy(ingress=[{"toPorts": ["x"]}]),
        policy(ingress=[{"toPorts": [{"ports": ["80"]}]}]),
        policy(ingress=[{"toPorts": [{"ports": [{"port": "65536"}]}]}]),
        policy(ingress=[{"toPorts": [{"ports": [{"port": "80", "endPort": "x"}]}]}]),
        policy(enableDefaultDeny=[1]),
    ],
)
def test_what_is_no_policy_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        parse_policy(said)


names = st.sampled_from(
    [
        "spec",
        "specs",
        "metadata",
        "endpointSelector",
        "ingress",
        "ingressDeny",
        "fromEndpoints",
        "toPorts",
        "ports",
        "port",
        "protocol",
        "endPort",
        "matchLabels",
        "matchExpressions",
        "fromEntities",
        "egress",
        "toCIDRSet",
        "cidr",
        "except",
        "icmps",
        "fields",
        "type",
    ]
)
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(names, trees), st.dictionaries(names, trees))
def test_arbitrary_objects_raise_nothing_else(said: dict[str, Any], spec: dict[str, Any]) -> None:
    for item in (said, {"spec": {"endpointSelector": {}, **spec}}):
        try:
            parsed = parse_policy(item)
        except PolicyError as error:
            assert str(error)
        else:
            assert isinstance(parsed.rules, tuple)
