"""Devices, addresses and routes in a namespace of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from agent import netlink
from agent.netlink import NetlinkFailedError
from tests.agent.nodespace import node_namespace, pods
from tests.bpf.world import ip, within

pytestmark = pytest.mark.root


@pytest.fixture
def node() -> Iterator[str]:
    with node_namespace() as name:
        yield name


def show(node: str, *words: str) -> Any:
    return json.loads(ip("-j", "-d", *words, namespace=node))


def test_the_tunnel_device_takes_its_destination_from_each_packet(node: str) -> None:
    made = within(node, lambda: netlink.ensure_vxlan("cilium_vxlan", mtu=1450))
    (link,) = show(node, "link", "show", "cilium_vxlan")
    assert link["linkinfo"]["info_data"]["external"] is True
    assert link["linkinfo"]["info_data"]["port"] == 8472
    assert "UP" in link["flags"]
    assert (link["ifindex"], link["mtu"]) == (made.index, 1450)
    assert within(node, lambda: netlink.ensure_vxlan("cilium_vxlan", mtu=1450)) == made


def test_devices_say_that_they_are_ours_also_those_from_before_they_did(node: str) -> None:
    ip("link", "add", "cilium_vxlan", "type", "vxlan", "external", "dstport", "8472", namespace=node)
    ip("link", "add", "cilium_host", "type", "veth", "peer", "name", "cilium_net", namespace=node)
    within(node, lambda: netlink.ensure_vxlan("cilium_vxlan", mtu=1450))
    within(node, lambda: netlink.ensure_gateway("cilium_host", "cilium_net", "10.1.1.1"))
    said = {link["ifname"]: link.get("ifalias") for link in show(node, "link", "show")}
    names = ("cilium_vxlan", "cilium_host", "cilium_net")
    assert [said[name] for name in names] == ["clustermesh"] * 3
    assert said["eth0"] is None


def test_the_gateway_has_the_nodes_address_and_no_older_one(node: str) -> None:
    within(node, lambda: netlink.ensure_gateway("cilium_host", "cilium_net", "10.1.9.1"))
    within(node, lambda: netlink.ensure_gateway("cilium_host", "cilium_net", "10.1.1.1"))
    (shown,) = show(node, "addr", "show", "cilium_host")
    assert [(a["local"], a["prefixlen"]) for a in shown["addr_info"] if a["family"] == "inet"] == [
        ("10.1.1.1", 32)
    ]
    assert within(node, lambda: netlink.address_of("cilium_host")) == ["10.1.1.1"]


def test_a_pod_is_reached_by_its_cable_without_arp(node: str) -> None:
    with pods(node, 1):
        within(node, lambda: netlink.ensure_gateway("cilium_host", "cilium_net", "10.1.1.1"))
        index = within(node, netlink.links)["lxc1"]
        for _ in range(2):
            within(node, lambda: netlink.ensure_pod_route("10.1.1.5", index, "02:00:00:00:00:05", "10.1.1.1"))
        (route,) = show(node, "route", "show", "10.1.1.5")
        assert (route["dev"], route["prefsrc"], route["scope"]) == ("lxc1", "10.1.1.1", "link")
        (neighbour,) = show(node, "neigh", "show", "10.1.1.5")
        assert (neighbour["lladdr"], neighbour["state"]) == ("02:00:00:00:00:05", ["PERMANENT"])
        for _ in range(2):
            within(node, lambda: netlink.remove_pod_route("10.1.1.5", index))
        assert show(node, "route", "show", "10.1.1.5") == []
    # the cable went with the pod's namespace: removing its route is no error
    within(node, lambda: netlink.remove_pod_route("10.1.1.5", index))


def test_the_gateway_has_an_address_of_each_family_and_loses_one_that_went(node: str) -> None:
    def given() -> set[tuple[str, int]]:
        (shown,) = show(node, "addr", "show", "cilium_host")
        found = [address for address in shown["addr_info"] if address["scope"] == "global"]
        assert not any(address.get("tentative") for address in found)
        return {(address["local"], address["prefixlen"]) for address in found}

    both = ("10.1.1.1", "fd00:10:1:1::1")
    within(node, lambda: netlink.ensure_gateway("cilium_host", "cilium_net", "10.1.1.1", "fd00:9::1"))
    for _ in range(2):
        within(node, lambda: netlink.ensure_gateway("cilium_host", "cilium_net", *both))
        assert given() == {("10.1.1.1", 32), ("fd00:10:1:1::1", 128)}
    within(node, lambda: netlink.ensure_gateway("cilium_host", "cilium_net", "10.1.1.1"))
    assert given() == {("10.1.1.1", 32)}


def test_a_pods_ipv6_address_is_reached_by_its_cable(node: str) -> None:
    pod, own, mac = "fd00:10:1:1::5", "fd00:10:1:1::1", "02:00:00:00:00:05"
    with pods(node, 1):
        within(node, lambda: netlink.ensure_gateway("cilium_host", "cilium_net", "10.1.1.1", own))
        index = within(node, netlink.links)["lxc1"]
        for _ in range(2):
            within(node, lambda: netlink.ensure_pod_route(pod, index, mac, own))
        (route,) = show(node, "-6", "route", "show", pod)
        assert (route["dev"], route["prefsrc"]) == ("lxc1", own)
        (neighbour,) = show(node, "-6", "neigh", "show", pod)
        assert (neighbour["lladdr"], neighbour["state"]) == (mac, ["PERMANENT"])
        for _ in range(2):
            within(node, lambda: netlink.remove_pod_route(pod, index))
        assert show(node, "-6", "route", "show", pod) == []
        assert show(node, "-6", "neigh", "show", pod) == []


def test_whether_ipv6_is_switched_off_is_the_namespaces(node: str) -> None:
    assert within(node, netlink.has_ipv6)
    within(node, lambda: netlink.IPV6_SWITCH.write_text("1"))
    assert not within(node, netlink.has_ipv6)


def test_a_refusal_of_the_kernel_is_our_error(node: str) -> None:
    with pytest.raises(NetlinkFailedError):
        within(node, lambda: netlink.ensure_pod_route("10.1.1.5", 9999, "02:00:00:00:00:05", "10.1.1.1"))
    assert within(node, lambda: netlink.find("nothing")) is None


def test_a_link_is_found_by_its_address(node: str) -> None:
    own = "10.1.1.1", "fd00:10:1:1::1"
    made = within(node, lambda: netlink.ensure_gateway("cilium_host", "cilium_net", *own))
    for address, other in zip(own, ("10.1.1.2", "fd00:10:1:1::2"), strict=True):
        assert within(node, partial(netlink.having, address)) == [made.index]
        assert within(node, partial(netlink.having, other)) == []
