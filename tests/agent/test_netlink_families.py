"""A kernel without IPv6: it answers a question for it as every kernel does for a family that it lacks.

rtnetlink hands a family without a handler of its own to the one for "any" (rtnl_get_link in the kernel's
net/core/rtnetlink.c). AF_UNIX never has one, so here it stands for IPv6: what comes back is the kernel's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from socket import AF_INET, AF_UNIX

import pytest

from agent import netlink, nodelinks, routetable
from agent.noderoutes import Changes
from tests.agent.nodespace import node_namespace
from tests.bpf.world import within

pytestmark = pytest.mark.root

GATEWAY, OLD, CIDR = "10.1.1.1", "10.1.9.1", "10.1.1.0/24"


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for module in (netlink, nodelinks, routetable):
        monkeypatch.setattr(module, "AF_INET6", AF_UNIX)
    with node_namespace() as name:
        within(name, lambda: netlink.IPV6_SWITCH.write_text("1"))
        yield name


def test_the_kernel_answers_a_question_for_a_family_that_it_lacks_with_all(node: str) -> None:
    def families() -> list[set[int]]:
        with netlink.opened() as route:
            found = (route.get_addr(family=AF_UNIX), route.get_routes(family=AF_UNIX))
            return [{each["family"] for each in entries} for entries in found]

    assert all(AF_INET in found for found in within(node, families))


def test_an_address_of_before_goes_once(node: str) -> None:
    for address in (OLD, GATEWAY):
        within(node, lambda address=address: netlink.ensure_gateway("cilium_host", "cilium_net", address))
    assert within(node, lambda: netlink.address_of("cilium_host")) == [GATEWAY]


def test_routes_are_seen_once_and_can_be_changed(node: str) -> None:
    table = routetable.RouteTable(routetable.Direct())
    within(node, lambda: table.change(Changes({CIDR: "198.18.2.11"}, ()), {}))
    seen = within(node, table.look)
    assert seen == routetable.Seen({CIDR: "198.18.2.11"}, ["198.18.0.0/15"])
    assert within(node, nodelinks.routes) == ((CIDR, "unicast"),)
    assert within(node, lambda: table.change(Changes({}, [CIDR]), seen.ours)) == {}
    assert within(node, table.look).ours == {}
