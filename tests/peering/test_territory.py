"""Which addresses a peer's nodes stand for."""

from __future__ import annotations

from ipaddress import IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.addressing import ClusterID
from mesh.node import Node, NodeAddress
from peering.territory import Territory

ADDRESSES = (
    NodeAddress("InternalIP", "198.18.2.11"),
    NodeAddress("Hostname", "node-1.example"),
    NodeAddress("CiliumInternalIP", "fd00::1"),
)


def node(name: str, cidr: str | None, ipv6: str | None = None) -> Node:
    return Node(name, "west", ClusterID(2), ADDRESSES, cidr, ipv6_pod_cidr=ipv6, ipv4_health_ip="10.9.9.9")


def test_pod_cidrs_and_the_nodes_own_addresses_are_covered() -> None:
    land = Territory()
    assert land.replace(None, node("a", "10.2.0.0/16", "fd02::/64")) == (True, False)
    for inside in (
        "10.2.1.5",
        "10.2.4.0/24",
        "10.2.0.0/16",
        "198.18.2.11",
        "10.9.9.9",
        "fd02::a",
        "FD00:0::1",
    ):
        assert land.covers(inside), inside
    for outside in ("10.3.1.5", "10.0.0.0/8", "0.0.0.0/0", "198.18.2.12", "fd03::1", "node-1.example", ""):
        assert not land.covers(outside), outside


def test_a_network_that_two_nodes_name_stays_until_both_are_gone() -> None:
    land, one, other = Territory(), node("a", "10.2.1.0/24"), node("b", "10.2.1.0/24")
    land.replace(None, one)
    assert land.replace(None, other) == (False, False)
    assert land.replace(one, None) == (False, False)
    assert land.covers("10.2.1.5")
    assert land.replace(other, None) == (False, True)
    assert not land.covers("10.2.1.5")
    assert not land.has_pod_cidrs


NETWORKS = st.tuples(st.integers(0, 2**32 - 1).map(lambda n: n & 0xFF00FFFF), st.integers(1, 32)).map(
    lambda pair: str(ip_network(pair, strict=False))
)


@given(st.lists(st.tuples(st.integers(0, 2), st.one_of(st.none(), NETWORKS)), max_size=8), NETWORKS)
def test_it_covers_what_the_nodes_of_the_moment_cover(
    changes: list[tuple[int, str | None]], wanted: str
) -> None:
    land, nodes = Territory(), dict[int, Node]()
    for number, cidr in changes:
        new = node(str(number), cidr) if cidr else None
        land.replace(nodes.pop(number, None), new)
        if new:
            nodes[number] = new
    networks = [ip_network(cidr) for n in nodes.values() for cidr in n.pod_cidrs]
    singles = [ip_network(ip_address(ip)) for n in nodes.values() for ip in ("198.18.2.11", "10.9.9.9")]
    prefix = ip_network(wanted)
    for asked in (prefix, ip_network(prefix.network_address)):
        is_inside = any(
            asked.version == inside.version and asked.subnet_of(inside)  # type: ignore[arg-type]
            for inside in networks + singles
        )
        assert land.covers(str(asked)) == is_inside
        if asked.prefixlen == 32:
            assert land.covers(str(asked.network_address)) == is_inside


LONG_NETWORKS = st.builds(
    lambda head, low, bits: IPv6Network(((0xFD00_0010 << 96) | (head << 62) | low, bits), strict=False),
    st.integers(0, 7),
    st.integers(0, 3) | st.integers(0, 2**62 - 1),
    st.integers(28, 128),
)


@given(st.lists(st.tuples(st.integers(0, 2), st.none() | LONG_NETWORKS), max_size=8), LONG_NETWORKS)
def test_it_covers_what_the_nodes_of_the_moment_cover_of_ipv6(
    changes: list[tuple[int, IPv6Network | None]], wanted: IPv6Network
) -> None:
    land, nodes = Territory(), dict[int, Node]()
    for number, cidr in changes:
        new = node(str(number), None, str(cidr)) if cidr else None
        land.replace(nodes.pop(number, None), new)
        if new:
            nodes[number] = new
        inside = [IPv6Network(str(n.ipv6_pod_cidr)) for n in nodes.values()]
        address = wanted.network_address
        is_inside = any(address in network for network in inside)
        for text in (address.compressed, address.exploded, address.compressed.upper()):
            assert land.covers(text) == is_inside
        assert land.outside([address.compressed]) == (set() if is_inside else {address.compressed})
        assert land.covers(str(wanted)) == any(map(wanted.subnet_of, inside))


@pytest.mark.parametrize(
    "text", ["fd02:0:0:0::1:2:3:4", "fd02:0:0:0:1", "fd02:0:0:0::g", "fd02:0:0:0::12345"]
)
def test_what_only_begins_like_an_ipv6_address_is_not_covered(text: str) -> None:
    land = Territory()
    land.replace(None, node("a", None, "fd02::/64"))
    assert land.covers("fd02:0:0:0::1") and not land.covers(text)
