"""Pod addresses of one node."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ExhaustedError, RequestError
from agent.ipam import AddressPool


def test_the_first_address_is_the_nodes_and_the_edges_are_never_given_out() -> None:
    pool = AddressPool("10.1.1.0/29")
    given_out = {pool.allocate(f"shop/web-{index}") for index in range(pool.capacity)}
    assert pool.gateway == "10.1.1.1"
    assert given_out == {f"10.1.1.{index}" for index in range(2, 7)}
    with pytest.raises(ExhaustedError, match="all 5"):
        pool.allocate("shop/more")


def test_a_released_address_rests_as_long_as_others_are_free() -> None:
    pool = AddressPool("10.1.1.0/29")
    first = pool.allocate("shop/a")
    assert pool.release(first)
    assert [pool.allocate("shop/b") for _ in range(5)][-1] == first


def test_an_address_taken_by_another_is_refused() -> None:
    pool = AddressPool("10.1.1.0/24")
    pool.take("10.1.1.9", "shop/a")
    pool.take("10.1.1.9", "shop/a")
    with pytest.raises(RequestError, match="taken by shop/a"):
        pool.take("10.1.1.9", "shop/b")


@pytest.mark.parametrize("address", ["10.1.1.0", "10.1.1.1", "10.1.1.255", "10.1.2.5", "10.1.0.5"])
def test_what_is_no_pod_address_of_the_node_cannot_be_taken(address: str) -> None:
    with pytest.raises(RequestError, match="not a pod address"):
        AddressPool("10.1.1.0/24").take(address, "shop/a")


@given(st.lists(st.integers(0, 40), max_size=80))
def test_no_two_owners_ever_share_an_address(releases: list[int]) -> None:
    pool, held = AddressPool("10.1.1.0/27"), list[str]()
    for index, release in enumerate(releases):
        if release < len(held):
            pool.release(held.pop(release))
        if len(held) < pool.capacity:
            held.append(pool.allocate(f"shop/{index}"))
        assert len(set(held)) == len(held) == len(pool.owners)
        assert all(IPv4Address(address) in IPv4Network("10.1.1.0/27") for address in held)
