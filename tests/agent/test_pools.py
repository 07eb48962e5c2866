"""Pod addresses of both families on one node, and which pod CIDRs they come from."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ConfigError, ExhaustedError, RequestError
from agent.ipam import Addresses, AddressPool, Pools
from agent.node import cilium_node, pools
from k8s.core import Node
from tests.agent.values import NODE

SIX = "fd00:10:1:1::/64"


def both() -> Pools:
    return Pools(AddressPool("10.1.1.0/24"), AddressPool(SIX))


def node(*cidrs: str) -> Node:
    return msgspec.convert(
        {"metadata": {"name": "n"}, "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs}}, Node
    )


def test_an_owner_gets_an_address_of_each_family_unless_it_asks_for_one() -> None:
    own = both()
    assert own.allocate("shop/a") == Addresses("10.1.1.2", "fd00:10:1:1::2")
    assert own.allocate("shop/b", ipv6=False) == Addresses("10.1.1.3")
    assert own.allocate("shop/c", ipv4=False) == Addresses(ipv6="fd00:10:1:1::3")
    assert Pools(AddressPool("10.1.1.0/24")).allocate("shop/a") == Addresses("10.1.1.2")


def test_where_one_family_is_exhausted_nothing_of_the_other_is_held() -> None:
    own = Pools(AddressPool("10.1.1.0/24"), AddressPool("fd00::/126"))
    own.allocate("shop/a")
    with pytest.raises(ExhaustedError, match="fd00::/126"):
        own.allocate("shop/b")
    assert set(own.owners.values()) == {"shop/a"}


def test_an_address_is_taken_and_released_in_the_pool_of_its_family() -> None:
    own = both()
    for address in ("10.1.1.9", "fd00:10:1:1::9"):
        own.take(address, "shop/a")
        assert own.owners[address] == "shop/a"
        assert (own.release(address), own.release(address)) == (True, False)
    assert own.allocate("shop/b") == Addresses("10.1.1.10", "fd00:10:1:1::a")


@pytest.mark.parametrize(
    "address", ["fd00:10:1:1::", "fd00:10:1:1::1", "fd00:10:1:2::2", "10.1.2.2", "::ffff:10.1.1.2", "web", ""]
)
def test_what_is_no_pod_address_of_the_node_is_refused(address: str) -> None:
    with pytest.raises(RequestError):
        both().take(address, "shop/a")


def test_ipv6_is_refused_where_there_is_none() -> None:
    with pytest.raises(RequestError, match="no IPv6"):
        Pools(AddressPool("10.1.1.0/24")).take("fd00::2", "shop/a")


@given(st.lists(st.integers(0, 12), max_size=40))
def test_no_two_owners_share_an_ipv6_address(releases: list[int]) -> None:
    pool, held = AddressPool("fd00:10:1:1::/124"), list[str]()
    for index, release in enumerate(releases):
        if release < len(held):
            pool.release(held.pop(release))
        if len(held) < pool.capacity:
            held.append(pool.allocate(f"shop/{index}"))
        assert len(set(held)) == len(held) == len(pool.owners)
        assert all(IPv6Address(address) in IPv6Network("fd00:10:1:1::/124") for address in held)


@pytest.mark.parametrize("cidrs", [("10.1.1.0/24", SIX, "10.9.0.0/24"), (SIX, "10.1.1.0/24")])
def test_the_pools_are_of_the_first_cidr_of_each_family(cidrs: tuple[str, ...]) -> None:
    own = pools(node(*cidrs), ipv6=True)
    assert [pool.cidr for pool in own.all] == ["10.1.1.0/24", SIX]
    assert [pool.cidr for pool in pools(node(*cidrs), ipv6=False).all] == ["10.1.1.0/24"]


def test_a_node_without_ipv4_pods_is_told_so() -> None:
    with pytest.raises(ConfigError, match="no IPv4 pod CIDR"):
        pools(node(SIX), ipv6=True)


def test_our_record_tells_both_cidrs_and_our_addresses_in_them() -> None:
    spec = cilium_node(
        NODE, node("10.1.1.0/24", SIX), both(), "boot", Addresses("10.1.1.254", "fd00:10:1:1::254")
    )["spec"]
    assert spec["ipam"] == {"podCIDRs": ["10.1.1.0/24", SIX]}
    assert [address["ip"] for address in spec["addresses"]] == ["198.18.1.11", "10.1.1.1", "fd00:10:1:1::1"]
    assert spec["health"] == {"ipv4": "10.1.1.254", "ipv6": "fd00:10:1:1::254"}
