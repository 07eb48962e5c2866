from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import PolicyError
from mesh.identity import parse_labels
from mesh.policy_parse import MAX_RANGE, Ingress, parse_policy

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
    (peer,) = rule.allows[0].peers
    assert peer.matches(CLIENT)
    assert not peer.matches(parse_labels("k8s:app=client;"))


def test_reserved_labels_are_in_no_namespace() -> None:
    said = [{"matchLabels": {"reserved:ingress": ""}}]
    (rule,) = parse_policy(policy(ingress=[{"fromEndpoints": said}])).rules
    assert rule.allows[0].peers[0].matches(parse_labels("reserved:ingress=;"))


@pytest.mark.parametrize(
    ("section", "unsupported"),
    [
        ({"fromCIDR": ["10.0.0.0/8"]}, "fromCIDR"),
        ({"fromCIDRSet": [{"cidr": "10.0.0.0/8"}]}, "fromCIDRSet"),
        ({"fromEndpoints": FROM, "fromRequires": FROM}, "fromRequires"),
        ({"fromEndpoints": FROM, "icmps": [{"fields": [{"type": 8}]}]}, "icmps"),
        ({"fromEndpoints": FROM, "authentication": {"mode": "required"}}, "authentication"),
        ({"fromEndpoints": FROM, "tomorrow": True}, "tomorrow"),
        ({"toPorts": [{"ports": [{"port": "80"}], "rules": {"http": [{}]}}]}, "toPorts.rules"),
        ({"toPorts": [{"ports": [{"protocol": "ICMP"}]}]}, "protocol ICMP"),
        ({"toPorts": [{"ports": [{"port": "1", "endPort": MAX_RANGE + 1}]}]}, f"more than {MAX_RANGE} ports"),
    ],
)
def test_what_we_cannot_express_allows_nothing_and_denies_more(section: Any, unsupported: str) -> None:
    parsed = parse_policy(policy(ingress=[section]))
    assert parsed.rules[0].allows == ()
    assert parsed.rules[0].default_deny
    assert parsed.unsupported[0].startswith(unsupported)
    (rule,) = parse_policy(policy(ingressDeny=[section])).rules
    assert len(rule.denies) == 1


def test_a_deny_of_what_we_do_not_know_is_for_everybody_on_every_port() -> None:
    ports = [{"ports": [{"port": "80"}]}]
    (rule,) = parse_policy(policy(ingressDeny=[{"fromCIDR": ["10.0.0.0/8"], "toPorts": ports}])).rules
    assert rule.denies == (Ingress(everyone=True),)


def test_peers_beside_those_we_do_not_know_are_allowed() -> None:
    (rule,) = parse_policy(policy(ingress=[{"fromCIDR": ["::/0"], "fromEndpoints": FROM}])).rules
    assert len(rule.allows[0].peers) == 1


def test_egress_and_node_policies_are_named_and_close_nothing() -> None:
    parsed = parse_policy(policy(egress=[{}]))
    assert (parsed.unsupported, parsed.rules[0].default_deny) == (("egress",), False)
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
