"""Who gets a route: whoever claims first by rank, and never at somebody else's cost."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.ipcache import Level, Rank
from agent.noderoutes import ON_DEVICE, NodeRoutes, difference, plan
from mesh.addressing import ClusterID
from mesh.node import Node, NodeAddress
from mesh.routingmode import RoutingMode

OWN = "10.1.1.0/24"
NETWORKS = st.builds(
    lambda address, length: str(IPv4Network((address, length), strict=False)),
    st.integers(0x0A00_0000, 0x0A03_FFFF),
    st.integers(0, 32),
)


def node(name: str, ip: str, *cidrs: str, cluster: str = "west") -> Node:
    addresses = (NodeAddress("InternalIP", ip),) if ip else ()
    first, *more = (*cidrs, None)
    return Node(
        name,
        cluster,
        ClusterID(2),
        addresses,
        ipv4_pod_cidr=first,
        ipv4_secondary_pod_cidrs=tuple(cidr for cidr in more if cidr),
    )


def peer(name: str, cluster: str = "west") -> Rank:
    return Rank(Level.PEER_NODE, cluster, name)


def ours(name: str) -> Rank:
    return Rank(Level.LOCAL_NODE, owner=name)


def test_every_node_s_networks_lead_to_its_address() -> None:
    nodes = {
        ours("node-2"): node("node-2", "198.18.1.12", "10.1.2.0/24", cluster="east"),
        peer("w1"): node("w1", "198.18.2.11", "10.2.1.0/24", "10.7.0.0/16"),
    }
    found = plan(nodes, OWN)
    assert found.routes == {
        "10.1.2.0/24": "198.18.1.12",
        "10.2.1.0/24": "198.18.2.11",
        "10.7.0.0/16": "198.18.2.11",
    }
    assert not found.refused


def test_our_own_node_and_one_without_an_address_get_none() -> None:
    nodes = {
        Rank(Level.OWN_NODE, owner="node-1"): node("node-1", "198.18.1.11", "10.1.9.0/24"),
        peer("w1"): node("w1", "", "10.2.1.0/24"),
    }
    assert not plan(nodes, OWN).routes


@pytest.mark.parametrize(
    ("cidr", "why"),
    [
        ("0.0.0.0/0", "too large"),
        ("10.1.0.0/16", "overlaps 10.1.1.0/24"),
        ("10.1.1.128/25", "overlaps 10.1.1.0/24"),
        ("10.1.2.0/25", "overlaps 10.1.2.0/24"),
        ("198.19.2.0/24", "overlaps 198.18.0.0/15"),
        ("203.0.113.0/24", "overlaps 203.0.113.9/32"),
        ("127.0.0.0/8", "cannot have such addresses"),
        ("224.0.0.0/8", "cannot have such addresses"),
    ],
)
def test_a_peer_takes_nothing_that_is_others(cidr: str, why: str) -> None:
    nodes = {
        peer("w1"): node("w1", "198.18.2.11", cidr),
        ours("node-2"): node("node-2", "198.18.1.12", "10.1.2.0/24", cluster="east"),
        peer("n1", "north"): node("n1", "203.0.113.9", cluster="north"),
    }
    found = plan(nodes, OWN, ["198.18.0.0/15"])
    assert found.routes == {"10.1.2.0/24": "198.18.1.12"}
    assert why in found.refused[f"west/w1 {cidr}"]


def test_a_peer_s_node_address_cannot_take_our_own_cluster_s_way() -> None:
    nodes = {
        peer("w1"): node("w1", "10.1.2.7", "10.2.1.0/24"),
        ours("node-2"): node("node-2", "198.18.1.12", "10.1.2.0/24", cluster="east"),
    }
    assert plan(nodes, OWN).routes["10.1.2.0/24"] == "198.18.1.12"


@given(st.lists(st.tuples(st.booleans(), NETWORKS), max_size=12))
def test_routes_overlap_neither_each_other_nor_what_is_ours(claims: list[tuple[bool, str]]) -> None:
    nodes = {}
    for number, (local, cidr) in enumerate(claims):
        rank = ours(f"n{number:02}") if local else peer(f"n{number:02}")
        nodes[rank] = node(f"n{number:02}", f"198.18.3.{number}", cidr)
    found = plan(nodes, OWN)
    networks = [IPv4Network(cidr) for cidr in (*found.routes, OWN)]
    for index, one in enumerate(networks):
        assert not any(one.overlaps(other) for other in networks[:index])
    assert len(found.routes) + len(found.refused) == len(claims)
    for rank, each in nodes.items():  # a refusal has its reason among what was granted
        if f"{each.cluster}/{each.name} {each.ipv4_pod_cidr}" in found.refused:
            mine = IPv4Network(str(each.ipv4_pod_cidr))
            assert mine.prefixlen < 8 or any(mine.overlaps(other) for other in networks), rank


def test_what_an_earlier_life_left_goes_when_everybody_has_spoken() -> None:
    held = {"10.2.1.0/24": "a", "10.2.2.0/24": "b", "10.2.3.0/24": "c"}
    wanted = {"10.2.1.0/24": "a", "10.2.2.0/24": "x"}
    waiting = difference(wanted, held, everybody_spoke=False)
    assert (waiting.set, waiting.remove) == ({"10.2.2.0/24": "x"}, [])
    assert difference(wanted, held, everybody_spoke=True).remove == ["10.2.3.0/24"]
    own = difference(wanted, held, wanted_before=["10.2.3.0/24"], everybody_spoke=False)
    assert own.remove == ["10.2.3.0/24"]


def test_a_node_of_the_other_routing_mode_gets_no_route_and_one_that_says_nothing_does() -> None:
    silent, tunnelled = node("w1", "198.18.2.11", "10.2.1.0/24"), node("w2", "198.18.2.12", "10.2.2.0/24")
    tunnelled = replace(tunnelled, annotations={"clustermesh.io/routing-mode": "tunnel"})
    nodes = {peer("w1"): silent, peer("w2"): tunnelled}
    found = plan(nodes, OWN, mode=RoutingMode.NATIVE)
    assert found.routes == {"10.2.1.0/24": "198.18.2.11"}
    assert found.refused == {"west/w2 10.2.2.0/24": "its routing mode is tunnel, ours is native"}
    assert plan(nodes, OWN).refused == {}


def test_only_changes_move_the_revision() -> None:
    routes = NodeRoutes()
    routes.claim(peer("w1"), node("w1", "198.18.2.11", "10.2.1.0/24"))
    routes.claim(peer("w1"), node("w1", "198.18.2.11", "10.2.1.0/24"))
    assert routes.clock.revision == 1
    routes.claim(peer("w1"), None)
    routes.claim(peer("w1"), None)
    assert (routes.clock.revision, dict(routes.nodes)) == (2, {})


def test_ipv6_is_routed_where_our_own_pods_have_it() -> None:
    dual = replace(node("w1", "198.18.2.11", "10.2.1.0/24"), ipv6_pod_cidr="fd00:10:2:1::/64")
    routes = plan({peer("w1"): dual}, OWN, own_cidr6="fd00:10:1:1::/64").routes
    assert routes == {"10.2.1.0/24": "198.18.2.11", "fd00:10:2:1::/64": ON_DEVICE}
    assert plan({peer("w1"): dual}, OWN).routes == {"10.2.1.0/24": "198.18.2.11"}


@pytest.mark.parametrize(
    ("cidr", "why"),
    [
        ("fd00:10:1:1:8000::/65", "overlaps fd00:10:1:1::/64"),
        ("fd00:10:1::/48", "overlaps fd00:10:1:1::/64"),
        ("2001:db8:0:1::/64", "overlaps 2001:db8::/48"),
        ("2001::/16", "too large"),
        ("fe80::/64", "cannot have"),
    ],
)
def test_an_ipv6_network_that_is_somebody_elses_is_refused(cidr: str, why: str) -> None:
    claim = {peer("w1"): replace(node("w1", "198.18.2.11"), ipv6_pod_cidr=cidr)}
    reserved = ["2001:db8::/48"] if cidr.startswith("2001:db8") else []
    found = plan(claim, OWN, reserved, own_cidr6="fd00:10:1:1::/64")
    assert (found.routes, len(found.refused)) == ({}, 1)
    assert why in found.refused[f"west/w1 {cidr}"]


def test_equal_leading_bits_of_two_families_do_not_overlap() -> None:
    dual = replace(
        node("w1", "198.18.2.11", "32.1.13.0/24"), ipv6_pod_cidr="2001:d00::/32"
    )  # 32.1.13 = 2001:0d
    assert len(plan({peer("w1"): dual}, OWN, own_cidr6="fd00::/64").routes) == 2


def dual(name: str, ip6: str, cidr6: str, *cidrs: str) -> Node:
    made = replace(node(name, f"198.18.2.{name[1:]}", *cidrs), ipv6_pod_cidr=cidr6)
    return replace(made, addresses=(*made.addresses, NodeAddress("InternalIP", ip6))) if ip6 else made


def test_with_native_routing_ipv6_leads_to_the_node_s_ipv6_address() -> None:
    nodes = {
        peer("w1"): dual("w1", "fd00:18::2:b", "fd00:10:2:1::/64", "10.2.1.0/24"),
        peer("w2"): dual("w2", "", "fd00:10:2:2::/64", "10.2.2.0/24"),
        peer("w3"): dual("w3", "fd00:18::2:d", "fd00:18::/120"),
    }
    found = plan(nodes, OWN, mode=RoutingMode.NATIVE, own_cidr6="fd00:10:1:1::/64")
    assert found.routes == {
        "10.2.1.0/24": "198.18.2.1",
        "fd00:10:2:1::/64": "fd00:18::2:b",
        "10.2.2.0/24": "198.18.2.2",
        "fd00:18::/120": "fd00:18::2:d",
    }
    assert found.refused == {
        "west/w2 fd00:10:2:2::/64": "its node tells no IPv6 address that could be the gateway"
    }
    w4 = {peer("w4"): dual("w4", "", "fd00:18::/96")}  # around the address of another node
    assert "overlaps fd00:18::2:b" in str(
        plan(nodes | w4, OWN, mode=RoutingMode.NATIVE, own_cidr6="fd00:10:1:1::/64").refused
    )


@pytest.mark.parametrize("mode", RoutingMode)
def test_with_native_routing_nothing_outside_the_native_routing_cidr_is_routed(mode: RoutingMode) -> None:
    nodes = {
        peer("w1"): dual("w1", "fd00:18::b", "fd00:10:2:1::/64", "10.2.1.0/24", "10.9.0.0/16"),
        peer("w2"): dual("w2", "fd00:18::c", "fd00:11::/64", "192.0.2.0/24"),
    }

    def routed(*native: str) -> set[str]:
        found = plan(nodes, OWN, mode=mode, own_cidr6="fd00:10:1:1::/64", native_cidrs=native)
        assert len(found.routes) + len(found.refused) == 5
        return set(found.routes)

    everything = {"fd00:10:2:1::/64", "10.2.1.0/24", "10.9.0.0/16", "fd00:11::/64", "192.0.2.0/24"}
    assert routed() == everything
    if mode is RoutingMode.TUNNEL:
        assert routed("10.2.0.0/16", "fd00:10::/32") == everything
    else:
        assert routed("fd00:10::/32") == everything - {"fd00:11::/64"}
        assert routed("10.2.0.0/16") == everything - {"10.9.0.0/16", "192.0.2.0/24"}
        assert routed("10.2.1.0/24", "fd00:10:2:1::/64") == {"10.2.1.0/24", "fd00:10:2:1::/64"}
        assert routed("10.2.1.0/25") == everything - {"10.2.1.0/24", "10.9.0.0/16", "192.0.2.0/24"}
