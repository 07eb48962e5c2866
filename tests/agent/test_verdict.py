"""The three answers about one connection agree, whatever the policies are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.labels import from_texts
from agent.tables import Tables
from agent.verdict import ALLOWED, DENIED, NO_POLICY, Connection, looked_up, said_by
from mesh.addressing import Identity
from mesh.enforcement import Enforcement
from mesh.policy import parse_policy
from tests.agent.values import NODE, endpoint, labels, number, tables

FRIEND, STRANGER = number(1, 20), number(2, 21)
PORTS = [[], [{"port": "80", "protocol": "TCP"}], [{"port": "64", "endPort": 127, "protocol": "TCP"}]]


def rule(kind: str, app: str, ports: list[dict[str, Any]]) -> dict[str, Any]:
    peers = {"fromEndpoints" if "ngress" in kind else "toEndpoints": [{"matchLabels": {"app": app}}]}
    return {kind: [{**peers, **({"toPorts": [{"ports": ports}]} if ports else {})}]}


RULES = st.builds(
    rule,
    st.sampled_from(["ingress", "ingressDeny", "egress", "egressDeny"]),
    st.sampled_from(["friend", "other"]),
    st.sampled_from(PORTS),
)
ASKED = st.builds(
    Connection,
    st.sampled_from([FRIEND, STRANGER, 1, 2]),
    st.sampled_from([53, 80, 100]),
    st.sampled_from([6, 17]),
    st.booleans(),
)


def policy(name: str, said: dict[str, Any]) -> dict[str, Any]:
    spec = {"endpointSelector": {"matchLabels": {"app": "web"}}, **said}
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def world_of(rules: list[dict[str, Any]]) -> Tables:
    world = tables()
    world.set_peer_listings(list)
    world.identities.commit({FRIEND: labels("friend"), STRANGER: labels("friend", "west")})
    world.upsert_endpoint(endpoint(1))
    world.policies.commit({f"shop/p{n}": parse_policy(policy(f"p{n}", each)) for n, each in enumerate(rules)})
    world.own_listed()
    return world


@given(st.lists(RULES, max_size=3), ASKED)
def test_policies_and_entries_say_the_same(rules: list[dict[str, Any]], asked: Connection) -> None:
    world = world_of(rules)
    member = world.policies.endpoints.entries["10.1.1.2"]
    whole, single = world.policies.meaning(
        from_texts(list(member.endpoint.labels)), {}, Identity(asked.identity)
    )
    said = said_by(whole, single, asked)
    enforced = member.egress_enforced if asked.egress else member.enforced
    assert said.verdict == (looked_up(world.policies.entries.entries.get, 1, asked) if enforced else ALLOWED)
    if said.verdict == DENIED and DENIED in said.rules.values():
        assert said.reason.startswith("denied by shop/p")
    if said.verdict == ALLOWED and enforced and asked.identity != 1:
        assert said.reason.startswith("allowed by shop/p")


INWARD = Connection(FRIEND, 80, 6, False)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ([], NO_POLICY),
        ([rule("egress", "friend", [])], NO_POLICY),
        ([rule("ingress", "friend", [])], "allowed by shop/p0"),
        ([rule("ingress", "other", [])], "no policy allows it: shop/p0 select it and do not"),
        ([rule("ingress", "friend", []), rule("ingressDeny", "friend", [])], "denied by shop/p1"),
    ],
)
def test_the_reason_names_the_policies(rules: list[dict[str, Any]], reason: str) -> None:
    world = world_of(rules)
    whole, single = world.policies.meaning(labels("web"), {}, Identity(FRIEND))
    assert said_by(whole, single, INWARD).reason == reason


def test_where_policy_is_always_enforced_a_pod_without_any_is_closed_and_the_reason_says_so() -> None:
    world = Tables(NODE, enforcement=Enforcement.ALWAYS)
    world.set_peer_listings(list)
    world.upsert_endpoint(endpoint(1))
    world.own_listed()
    member = world.policies.endpoints.entries["10.1.1.2"]
    assert (member.enforced, member.egress_enforced) == (True, True)
    said = said_by(*world.policies.meaning(labels("web"), {}, Identity(FRIEND)), INWARD)
    assert (said.verdict, said.reason) == (DENIED, "no policy allows it, and enable-policy is always")
    assert looked_up(world.policies.entries.entries.get, 1, INWARD) == DENIED
