"""Policies x identities x endpoints, computed piece by piece."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from agent import status
from agent.desired import Clock
from agent.identities import Identities
from agent.ipcache import IPCache, IPCacheEntry, Level, Rank
from agent.peerports import PeerPorts
from agent.policy import Policies
from agent.policygroup import PolicyKey
from mesh.addressing import ClusterID
from mesh.identity import Labels
from mesh.policy import Scope, parse_policy, resolve
from tests.agent.values import EAST, endpoint, labels, number, tables

WEST, REMOTE = Rank(Level.PEER_ENDPOINT, "west"), IPCacheEntry(number(2, 1), "198.18.2.11")
_PORT_80 = {"ports": [{"port": "80", "protocol": "TCP"}]}
WEST_CLIENT, EAST_CLIENT = number(2, 5), number(1, 50)


def policy(name: str = "allow-client", cluster: str = "west", app: str = "client", **more: Any) -> Any:
    match = {"app": app, "io.cilium.k8s.policy.cluster": cluster}
    spec = {
        "endpointSelector": {"matchLabels": {"app": "web"}},
        "ingress": [{"fromEndpoints": [{"matchLabels": match}]}],
        **more,
    }
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def made(identities: Identities) -> Policies:
    clock = Clock()
    return Policies(clock, EAST.name, identities, IPCache(clock), PeerPorts())


def started(identities: Identities | None = None) -> Policies:
    policies = made(identities or Identities())
    policies.start()
    return policies


def allowed(policies: Policies, endpoint_id: int = 1) -> set[int]:
    return {key.identity for key, deny in policies.entries.entries.items() if key.endpoint == endpoint_id}


def test_an_endpoint_that_no_policy_selects_is_open_and_has_no_entries() -> None:
    policies = started()
    policies.upsert_endpoint(endpoint(1, "other"))
    policies.commit({"shop/p": parse_policy(policy())})
    assert policies.entries.entries == {}
    assert not policies.endpoints.entries["10.1.1.2"].enforced


def test_a_selected_endpoint_is_enforced_and_admits_the_named_identity_when_it_is_known() -> None:
    identities = Identities()
    policies = started(identities)
    policies.commit({"shop/p": parse_policy(policy())})
    policies.upsert_endpoint(endpoint(1))
    assert policies.endpoints.entries["10.1.1.2"].enforced
    assert WEST_CLIENT not in allowed(policies)
    identities.commit({WEST_CLIENT: labels("client", "west")})
    assert WEST_CLIENT in allowed(policies)
    identities.commit({}, [WEST_CLIENT])
    assert WEST_CLIENT not in allowed(policies)


def test_parts_that_cannot_be_enforced_are_named_until_the_policy_goes() -> None:
    policies = started()
    in_part = parse_policy(policy(egress=[{"toFQDNs": [{}]}]))
    policies.commit({"shop/p": in_part, "shop/q": parse_policy(policy("q"))})
    assert policies.unsupported == {"shop/p": ("toFQDNs",)}
    shown = status.policies(len(policies.names), policies.unsupported, {"shop/r": "not a policy"})
    assert shown["state"] == "Warning"
    assert shown["msg"] == "2 policies; shop/p in part not enforced: toFQDNs; shop/r refused: not a policy"
    policies.commit({}, ["shop/p"])
    assert status.policies(len(policies.names), policies.unsupported, {}) == {
        "state": "Ok",
        "msg": "1 policies",
    }


def test_nothing_is_wanted_before_policies_are_listed() -> None:
    policies = made(Identities())
    policies.upsert_endpoint(endpoint(1))
    assert policies.endpoints.entries == {}
    policies.commit({"shop/p": parse_policy(policy())})
    policies.start()
    assert policies.endpoints.entries["10.1.1.2"].enforced


def test_a_prefix_has_an_identity_while_a_policy_names_it_and_pods_and_peers_keep_theirs() -> None:
    world = tables()
    world.own_listed()
    to_prefixes = policy(egress=[{"toCIDR": ["10.0.0.0/8", "10.2.1.5/32", "0.0.0.0/0"]}])
    world.ipcache.upsert("10.2.1.5/32", WEST, REMOTE)
    world.upsert_endpoint(endpoint(1))
    world.policies.commit({"shop/p": parse_policy(to_prefixes)})
    ten = world.ipcache.wanted.entries["10.0.0.0/8"]
    assert (ten.identity >> 24, ten.tunnel) == (1, None)
    assert world.ipcache.wanted.entries["10.2.1.5/32"] == REMOTE
    assert "0.0.0.0/0" not in world.ipcache.wanted.entries
    allows = {key.identity for key in world.policies.entries.entries if key.egress}
    assert {ten.identity, 2} < allows
    other = parse_policy(policy("q", egress=[{"toCIDR": ["10.0.0.0/8"]}]))
    world.policies.commit({"shop/q": other}, ["shop/p"])
    assert world.ipcache.wanted.entries["10.0.0.0/8"] == ten
    world.policies.commit({}, ["shop/q"])
    assert "10.0.0.0/8" not in world.ipcache.wanted.entries
    assert world.policies.cidrs.all == {}


def test_where_pods_have_both_families_everywhere_of_one_is_not_the_others_world() -> None:
    world = tables(dual_stack=True)
    world.own_listed()
    world.upsert_endpoint(endpoint(1))
    said = policy(egress=[{"toCIDR": ["0.0.0.0/0"]}, {"toEntities": ["world-ipv6"], "toPorts": [_PORT_80]}])
    world.policies.commit({"shop/p": parse_policy(said)})
    entries = world.ipcache.wanted.entries
    four, six = entries["0.0.0.0/0"].identity, entries["::/0"].identity
    allows = {(key.identity, key.port) for key in world.policies.entries.entries if key.egress}
    assert {(four, 0), (six, 80)} <= allows
    assert not {(four, 80), (six, 0), (2, 0), (2, 80)} & allows
    both = parse_policy(policy(egress=[{"toEntities": ["world"]}]))
    world.policies.commit({"shop/p": both, "shop/q": parse_policy(said | {"metadata": {"name": "q"}})})
    allows = {(key.identity, key.port) for key in world.policies.entries.entries if key.egress}
    assert {(four, 0), (six, 0), (2, 0)} <= allows


def test_prefixes_of_both_families_keep_their_numbers_over_a_restart() -> None:
    first, second = tables(dual_stack=True), tables(dual_stack=True)
    said = {"p": parse_policy(policy(egress=[{"toCIDR": ["10.0.0.0/8", "fd00:9::/32", "0.0.0.0/0"]}]))}
    first.own_listed()
    first.policies.commit(said)
    left = dict(first.ipcache.wanted.entries)
    second.policies.commit(said)
    second.own_listed()
    second.recover(left, {}, {}, {})
    assert left.keys() == {"10.0.0.0/8", "fd00:9::/32", "0.0.0.0/0"}
    assert second.ipcache.wanted.entries == left


def test_a_prefix_keeps_its_number_over_a_restart() -> None:
    first, second = tables(), tables()
    said = {name: parse_policy(policy(egress=[{"toCIDR": [name]}])) for name in ("10.0.0.0/8", "11.0.0.0/8")}
    first.own_listed()
    for name, parsed in said.items():
        first.policies.commit({name: parsed})
    left = dict(first.ipcache.wanted.entries)
    more = parse_policy(policy(egress=[{"toCIDR": ["12.0.0.0/8"]}]))
    second.policies.commit({"11.0.0.0/8": said["11.0.0.0/8"], "12.0.0.0/8": more})
    second.set_peer_listings(lambda: [(ClusterID(2), False)])
    second.own_listed()
    second.recover(left, {}, {}, {})
    assert second.ipcache.wanted.entries["11.0.0.0/8"] == left["11.0.0.0/8"]
    assert second.ipcache.wanted.entries["12.0.0.0/8"].identity not in {e.identity for e in left.values()}
    assert "10.0.0.0/8" not in second.ipcache.wanted.entries  # its policy has gone meanwhile


def test_a_removed_policy_opens_the_endpoint_again() -> None:
    policies = started()
    policies.upsert_endpoint(endpoint(1))
    policies.commit({"shop/p": parse_policy(policy())})
    policies.commit({}, ["shop/p"])
    assert policies.entries.entries == {}
    assert not policies.endpoints.entries["10.1.1.2"].enforced


def test_a_removed_endpoint_takes_its_entries_along_and_leaves_its_twins() -> None:
    identities = Identities()
    identities.commit({WEST_CLIENT: labels("client", "west")})
    policies = started(identities)
    policies.commit({"shop/p": parse_policy(policy())})
    policies.upsert_endpoint(endpoint(1))
    policies.upsert_endpoint(endpoint(2))
    policies.remove_endpoint(1)
    assert allowed(policies, 1) == set()
    assert WEST_CLIENT in allowed(policies, 2)
    assert list(policies.endpoints.entries) == ["10.1.1.3"]


def test_a_relabelled_endpoint_has_the_entries_of_its_new_labels_only() -> None:
    policies = started()
    policies.commit({"shop/p": parse_policy(policy())})
    policies.upsert_endpoint(endpoint(1, "web"))
    policies.upsert_endpoint(endpoint(1, "other"))
    assert policies.entries.entries == {}
    assert not policies.endpoints.entries["10.1.1.2"].enforced


def test_entries_of_a_silent_peer_stay_until_it_has_spoken() -> None:
    identities = Identities()
    policies = made(identities)
    policies.upsert_endpoint(endpoint(1))
    kept = PolicyKey(1, WEST_CLIENT, 0, 0)
    policies.set_recovered({kept: False})
    policies.commit({"shop/p": parse_policy(policy())})
    policies.start()
    assert policies.entries.entries[kept] is False
    policies.forget_recovered([kept])
    assert kept not in policies.entries.entries


def test_an_entry_that_its_owner_confirmed_survives_the_end_of_the_recovery() -> None:
    identities = Identities()
    policies = made(identities)
    policies.upsert_endpoint(endpoint(1))
    kept = PolicyKey(1, WEST_CLIENT, 0, 0)
    policies.set_recovered({kept: False})
    policies.commit({"shop/p": parse_policy(policy())})
    policies.start()
    identities.commit({WEST_CLIENT: labels("client", "west")})
    policies.forget_recovered([kept])
    assert policies.entries.entries[kept] is False


POOL: dict[int, Labels] = {
    number(2, 1): labels("client", "west"),
    number(2, 2): labels("client", "west", "other"),
    number(3, 1): labels("client", "north"),
    number(1, 60): labels("client", "east"),
}
ANY_CLUSTER = {"key": "io.cilium.k8s.policy.cluster", "operator": "Exists"}
HIGH = [{"ports": [{"port": "1024", "endPort": 65535, "protocol": "TCP"}]}]
OBJECTS = {
    "shop/west": policy("west"),
    "shop/north": policy("north", "north"),
    "shop/out": policy(
        "out", egress=[{"toEndpoints": [{"matchExpressions": [ANY_CLUSTER]}], "toPorts": HIGH}]
    ),
    "shop/world": policy(
        "world", egress=[{"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.9.0.0/16"]}]}]
    ),
    "shop/part": policy("part", egressDeny=[{"toCIDR": ["10.0.0.0/8", "0.0.0.0/0"]}]),
    "shop/deny": policy("deny", ingressDeny=[{"fromEndpoints": [{"matchLabels": {"app": "client"}}]}]),
}
STEPS = st.lists(
    st.tuples(st.just("identity"), st.sampled_from(sorted(POOL)), st.booleans())
    | st.tuples(st.just("policy"), st.sampled_from(sorted(OBJECTS)), st.booleans())
    | st.tuples(st.just("endpoint"), st.integers(1, 2), st.booleans()),
    max_size=14,
)


@given(STEPS, st.randoms(use_true_random=False))
def test_any_order_of_changes_ends_in_what_resolve_says(steps: list[Any], random: Random) -> None:
    identities = Identities()
    policies = made(identities)
    start_at = random.randint(0, len(steps))
    known: dict[str, dict[Any, Any]] = {"identity": {}, "policy": {}, "endpoint": {}}
    for index, (what, key, present) in enumerate(steps):
        if index == start_at:
            policies.start()
        known[what].pop(key, None)
        if what == "identity":
            identities.commit({key: POOL[key]} if present else {}, [] if present else [key])
            known[what].update({key: POOL[key]} if present else {})
        elif what == "policy":
            parsed = parse_policy(OBJECTS[key])
            policies.commit({key: parsed} if present else {}, [] if present else [key])
            known[what].update({key: parsed} if present else {})
        elif present:
            policies.upsert_endpoint(endpoint(key))
            known[what][key] = endpoint(key)
        else:
            policies.remove_endpoint(key)
    policies.start()
    scope = Scope(known["identity"], EAST.name, cidrs=policies.cidrs.all)
    wanted = resolve(known["policy"].values(), labels("web"), scope)
    entries: dict[PolicyKey, bool] = {}
    for member in known["endpoint"]:
        for entry in wanted.entries:
            at = PolicyKey(member, entry.identity, entry.port, entry.protocol, entry.egress, entry.open_bits)
            entries[at] = entries.get(at, False) or entry.deny
    assert policies.entries.entries == entries
    found = {e.endpoint.id: (e.enforced, e.egress_enforced) for e in policies.endpoints.entries.values()}
    enforced = (wanted.ingress_enforced, wanted.egress_enforced)
    assert found == dict.fromkeys(known["endpoint"], enforced)


def test_nothing_is_wanted_before_policies_are_listed_however_many_endpoints_there_are() -> None:
    policies = made(Identities())
    for index in (1, 2):
        policies.upsert_endpoint(endpoint(index))
    assert (policies.endpoints.entries, policies.entries.entries) == ({}, {})
    policies.start()
    assert policies.endpoints.entries.keys() == {"10.1.1.2", "10.1.1.3"}


def test_an_endpoint_that_has_another_address_leaves_the_old_one() -> None:
    policies = started()
    policies.upsert_endpoint(endpoint(1))
    policies.upsert_endpoint(msgspec.structs.replace(endpoint(1), ipv4="10.1.1.9"))
    assert policies.endpoints.entries.keys() == {"10.1.1.9"}


def test_an_identity_that_comes_later_brings_its_ranges_of_ports_to_the_endpoint() -> None:
    """Without the flag the programs would not look for them: a deny of a range would do nothing."""
    identities = Identities()
    policies = started(identities)
    match = {"app": "client", "io.cilium.k8s.policy.cluster": "west"}
    deny = {"fromEndpoints": [{"matchLabels": match}]}
    deny["toPorts"] = [{"ports": [{"port": "8000", "endPort": 9999, "protocol": "TCP"}]}]
    policies.commit({"shop/p": parse_policy(policy(ingressDeny=[deny]))})
    policies.upsert_endpoint(endpoint(1))
    assert not policies.endpoints.entries["10.1.1.2"].has_ranges
    identities.commit({WEST_CLIENT: labels("client", "west")})
    assert policies.endpoints.entries["10.1.1.2"].has_ranges
