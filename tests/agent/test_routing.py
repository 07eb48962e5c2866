"""Routes to other nodes' pods in a real kernel: made, mended, and taken away only when they may be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest

from agent import netlink
from agent.local import LocalNode
from agent.noderoutes import Changes, NodeRoutes
from agent.routetable import Direct, RouteTable, Seen, Tunnelled
from agent.routing import Routing
from aiokit.wait import eventually
from mesh.routingmode import RoutingMode
from tests.agent.nodespace import node_namespace
from tests.agent.test_noderoutes import dual, node, ours, peer
from tests.agent.values import NODE
from tests.bpf.world import ip, within

pytestmark = pytest.mark.root

CIDR, INSIDE = "10.1.1.0/24", "10.1.1.1"


class Inside:
    """A table whose calls happen in the node's namespace."""

    def __init__(self, namespace: str, style: Direct | None = None, *, inside6: str = "") -> None:
        self._namespace = namespace
        inside = filter(None, (INSIDE, inside6))
        within(namespace, partial(netlink.ensure_gateway, "cilium_host", "cilium_net", *inside))
        device = within(namespace, partial(netlink.ensure_vxlan, "cilium_vxlan", mtu=1450))
        self._table = RouteTable(style or Tunnelled(device.index, INSIDE, inside6))

    def look(self) -> Seen:
        return within(self._namespace, self._table.look)

    def change(self, changes: Changes, held: Mapping[str, str]) -> Mapping[str, str]:
        return within(self._namespace, partial(self._table.change, changes, held))


@pytest.fixture
def namespace() -> Iterator[str]:
    with node_namespace() as name:
        yield name


def routes(namespace: str) -> dict[str, str]:
    """CIDR -> gateway of what leads into the tunnel."""
    shown = json.loads(ip("-j", "route", "show", "dev", "cilium_vxlan", namespace=namespace))
    assert all((each["prefsrc"], each["flags"]) == (INSIDE, ["onlink"]) for each in shown)
    return {each["dst"]: each["gateway"] for each in shown}


@asynccontextmanager
async def running(
    nodes: NodeRoutes, table: Inside, *, spoke: bool = True, cidr6: str = "", node: LocalNode = NODE
) -> AsyncIterator[Routing]:
    routing = Routing(nodes, table, node=node, cidr=CIDR, cidr6=cidr6, spoke=lambda: spoke, resync=0.1)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(routing.run())
        yield routing
        task.cancel()


@pytest.fixture
def nodes() -> NodeRoutes:
    made = NodeRoutes()
    made.claim(ours("node-2"), node("node-2", "198.18.1.12", "10.1.2.0/24", cluster="east"))
    made.claim(peer("w1"), node("w1", "198.18.2.11", "10.2.1.0/24"))
    return made


async def test_routes_follow_nodes_are_mended_and_stay_when_we_end(namespace: str, nodes: NodeRoutes) -> None:
    both = {"10.1.2.0/24": "198.18.1.12", "10.2.1.0/24": "198.18.2.11"}
    async with running(nodes, Inside(namespace)) as routing:
        await eventually(lambda: routes(namespace) == both)
        ip("route", "del", "10.2.1.0/24", namespace=namespace)
        ip(
            "route",
            "change",
            "10.1.2.0/24",
            "via",
            "198.18.1.99",
            "dev",
            "eth0",
            "proto",
            "110",
            namespace=namespace,
        )
        await eventually(lambda: routes(namespace) == both)
        nodes.claim(ours("node-2"), None)
        nodes.claim(peer("w1"), node("w1", "198.18.2.12", "10.2.1.0/24"))
        await eventually(lambda: routes(namespace) == {"10.2.1.0/24": "198.18.2.12"})
        assert routing.status() == {"routes": 1, "refused": {}, "problems": {}}
    assert routes(namespace) == {"10.2.1.0/24": "198.18.2.12"}


async def test_what_an_earlier_life_left_stays_while_somebody_is_silent(
    namespace: str, nodes: NodeRoutes
) -> None:
    async with running(nodes, Inside(namespace)):
        await eventually(lambda: len(routes(namespace)) == 2)
    later = NodeRoutes()
    later.claim(ours("node-3"), node("node-3", "198.18.1.13", "10.1.3.0/24", cluster="east"))
    async with running(later, Inside(namespace), spoke=False):
        await eventually(lambda: len(routes(namespace)) == 3)
    async with running(later, Inside(namespace), spoke=True):
        await eventually(lambda: routes(namespace) == {"10.1.3.0/24": "198.18.1.13"})


async def test_somebody_else_s_route_stays_and_is_told_and_others_are_made(
    namespace: str, nodes: NodeRoutes
) -> None:
    ip("route", "add", "10.2.1.0/24", "via", "198.18.9.9", namespace=namespace)
    nodes.claim(peer("w2"), node("w2", "198.18.2.12", "198.18.7.0/24"))
    async with running(nodes, Inside(namespace)) as routing:
        await eventually(lambda: bool(routing.status()["problems"]))
        assert routing.status() == {
            "routes": 1,
            "refused": {"west/w2 198.18.7.0/24": "it overlaps 198.18.0.0/15"},
            "problems": {"10.2.1.0/24": "a route that is not ours stands there"},
        }
        assert routes(namespace) == {"10.1.2.0/24": "198.18.1.12"}
        ip("route", "del", "10.2.1.0/24", namespace=namespace)
        await eventually(lambda: len(routes(namespace)) == 2)
        await eventually(lambda: not routing.status()["problems"])


async def test_with_native_routing_neighbours_are_gateways_and_others_are_told(
    namespace: str, nodes: NodeRoutes
) -> None:
    def direct() -> dict[str, str]:
        shown = json.loads(ip("-j", "route", "show", "dev", "eth0", "proto", "110", namespace=namespace))
        return {each["dst"]: each["gateway"] for each in shown}

    async with running(nodes, Inside(namespace)):  # in the other mode before
        await eventually(lambda: len(routes(namespace)) == 2)
    nodes.claim(peer("n1", "north"), node("n1", "203.0.113.9", "10.3.1.0/24", cluster="north"))
    async with running(nodes, Inside(namespace, Direct())) as routing:
        await eventually(lambda: direct() == {"10.1.2.0/24": "198.18.1.12", "10.2.1.0/24": "198.18.2.11"})
        assert routes(namespace) == {}
        await eventually(lambda: "203.0.113.9" in routing.status()["problems"].get("10.3.1.0/24", ""))


def test_what_is_for_no_pod_of_ours_does_not_leave(namespace: str) -> None:
    def shown(family: str) -> list[str]:
        said = json.loads(ip(family, "-j", "route", "show", "type", "unreachable", namespace=namespace))
        return [each["dst"] for each in said]

    first, second = "fd00:10:1:9::/64", "fd00:10:1:1::/64"
    for cidrs in (("10.9.9.0/24", first), (CIDR, second), (CIDR, second)):
        within(namespace, partial(netlink.ensure_unreachable, *cidrs))
    assert (shown("-4"), shown("-6")) == ([CIDR], [second])
    within(namespace, partial(netlink.ensure_unreachable, CIDR))  # the next life has no IPv6
    assert (shown("-4"), shown("-6")) == ([CIDR], [])


async def test_with_native_routing_ipv6_leads_to_neighbours_too(namespace: str) -> None:
    ip("addr", "add", "fd00:18::1:b/64", "dev", "eth0", "nodad", namespace=namespace)

    def direct() -> dict[str, str]:
        shown = json.loads(ip("-6", "-j", "route", "show", "proto", "110", namespace=namespace))
        return {each["dst"]: each["gateway"] for each in shown if each["dev"] == "eth0"}

    nodes, inside6, cidr6 = NodeRoutes(), "fd00:10:1:1::1", "fd00:10:1:1::/64"
    near = {"fd00:10:2:1::/64": "fd00:18::2:b", "fd00:10:2:2::/64": "fd00:18::2:c"}
    for name, gateway, pods in (
        ("w1", "fd00:18::2:b", "fd00:10:2:1::/64"),
        ("w2", "fd00:18::2:c", "fd00:10:2:2::/64"),
        ("w3", "fd00:99::3", "fd00:10:2:3::/64"),
        ("w4", "fd00:18::2:e", "fd00:18::/112"),
    ):
        nodes.claim(peer(name), dual(name, gateway, pods))
    native = replace(NODE, routing_mode=RoutingMode.NATIVE, ip6="fd00:18::1:b")
    table = Inside(namespace, Direct(), inside6=inside6)
    async with running(nodes, table, cidr6=cidr6, node=native) as routing:
        await eventually(lambda: direct() == near)
        ip("-6", "route", "del", "fd00:10:2:1::/64", namespace=namespace)
        wrong = ("via", "fd00:18::99", "dev", "eth0", "proto", "110")
        ip("-6", "route", "change", "fd00:10:2:2::/64", *wrong, namespace=namespace)
        await eventually(lambda: direct() == near)
        status = routing.status()
        assert status["routes"] == 2
        assert list(status["problems"]) == ["fd00:10:2:3::/64"]
        assert list(status["refused"]) == ["west/w4 fd00:18::/112"]


async def test_ipv6_leads_into_the_tunnel_without_a_gateway(namespace: str) -> None:
    inside6, cidr6 = "fd00:10:1:1::1", "fd00:10:1:1::/64"

    def shown() -> list[tuple[str, str]]:
        found = json.loads(ip("-6", "-j", "route", "show", "proto", "110", namespace=namespace))
        assert all("gateway" not in each and each["dev"] == "cilium_vxlan" for each in found)
        return sorted((each["dst"], each.get("prefsrc", "")) for each in found)

    nodes, table = NodeRoutes(), Inside(namespace, inside6=inside6)
    for number in (1, 2):
        dual = replace(node(f"w{number}", f"198.18.2.1{number}"), ipv6_pod_cidr=f"fd00:10:2:{number}::/64")
        nodes.claim(peer(f"w{number}"), dual)
    both = [(f"fd00:10:2:{number}::/64", inside6) for number in (1, 2)]
    async with running(nodes, table, cidr6=cidr6) as routing:
        await eventually(lambda: shown() == both)
        ip("-6", "route", "del", both[0][0], namespace=namespace)
        wrong = ("dev", "cilium_vxlan", "proto", "110")
        ip("-6", "route", "replace", both[1][0], *wrong, namespace=namespace)
        await eventually(lambda: shown() == both)
        nodes.claim(peer("w2"), None)
        await eventually(lambda: shown() == both[:1])
        assert routing.status() == {"routes": 1, "refused": {}, "problems": {}}
    async with running(nodes, table):  # the next life has no IPv6
        await eventually(lambda: not shown())
