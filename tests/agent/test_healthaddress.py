"""Which address it is, and who answers there."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv4Network

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import healthaddress, peernodes
from agent.endpoints import Stored
from agent.healthaddress import OWNER, take_health_address, take_health_addresses
from agent.ipam import Addresses, AddressPool, Pools
from aiokit.http import serve_tcp
from aiokit.wait import eventually
from mesh.addressing import ClusterID
from mesh.node import Node, NodeAddress

CIDR, CIDR6 = "10.1.1.0/24", "fd00:10:1:1::/120"


def test_it_is_the_last_one_and_stays_what_it_was() -> None:
    assert taken({}) == "10.1.1.254"
    assert taken({"10.1.1.254": "shop/web-1", "10.1.1.7": OWNER, "10.9.9.9": "shop/old"}) == "10.1.1.7"
    assert taken({"10.1.1.254": "shop/web-1"}) == "10.1.1.253"
    assert taken({"10.9.9.9": OWNER}) == "10.1.1.254"  # the node had another pod CIDR


def test_pods_get_the_addresses_that_they_would_get_without_it() -> None:
    pool = AddressPool(CIDR)
    assert take_health_address(pool, Stored()) == "10.1.1.254"
    pool.take("10.1.1.9", "shop/web")
    assert pool.allocate("shop/next") == "10.1.1.10"


def test_each_family_has_its_own_and_keeps_it() -> None:
    def taken_of_both(stored: Stored) -> Addresses:
        return take_health_addresses(Pools(AddressPool(CIDR), AddressPool(CIDR6)), stored)

    assert taken_of_both(Stored()) == Addresses("10.1.1.254", "fd00:10:1:1::fe")
    held = Stored(addresses={"10.1.1.7": OWNER}, addresses6={"fd00:10:1:1::7": OWNER})
    assert taken_of_both(held) == Addresses("10.1.1.7", "fd00:10:1:1::7")
    pod = Stored(addresses6={"fd00:10:1:1::fe": "shop/web-1"})
    assert taken_of_both(pod) == Addresses("10.1.1.254", "fd00:10:1:1::fd")
    assert take_health_addresses(Pools(AddressPool(CIDR)), held) == Addresses("10.1.1.7")


def test_pods_come_first_in_a_small_network() -> None:
    assert take_health_address(AddressPool("10.1.1.0/29"), Stored()) == ""


@given(st.sets(st.integers(2, 254)))
def test_it_is_never_a_pod_s(offsets: set[int]) -> None:
    pods = {f"10.1.1.{last}": "shop/web" for last in offsets}
    pool = AddressPool(CIDR)
    address = take_health_address(pool, Stored(addresses=pods))
    assert address not in pods
    assert bool(address) == (pool.capacity - len(pods) >= 8)
    if address:
        assert IPv4Address(address) in IPv4Network(CIDR)
        assert pool.owners[address] == OWNER


async def test_cilium_s_question_is_answered() -> None:
    async with (
        serve_tcp(healthaddress.application(), "127.0.0.1", 0) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/hello") as answer,
    ):
        assert answer.status == 200


async def test_an_address_that_is_not_ours_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(healthaddress.answer("192.0.2.77"), name="health")
        await eventually(lambda: "192.0.2.77" in caplog.text)
        assert not task.done()
        task.cancel()


def test_peers_nodes_are_found_by_their_addresses() -> None:
    def node(name: str, ip: str) -> Node:
        return Node(name, "west", ClusterID(2), (NodeAddress("InternalIP", ip),))

    nodes = [node("a", "198.18.2.11"), node("b", "198.18.2.12")]
    assert peernodes.having(nodes, {"198.18.2.12", "192.0.2.1"}) == {"198.18.2.12": nodes[1]}
    assert not peernodes.having(nodes, ())
    assert (peernodes.called(nodes, "198.18.2.12"), peernodes.called(nodes, "192.0.2.1")) == ("west/b", "")


def taken(addresses: dict[str, str]) -> str:
    return take_health_address(AddressPool(CIDR), Stored(addresses=addresses))
