"""The fabric carries packets between nodes, and the machine's own network stays as it is."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from lab import netlink, netns, network, plan
from lab.errors import LabError
from lab.plan import LabPlan


def host_network() -> str:
    return subprocess.run(
        "ip -o link show; ip -o -4 addr show; ip route", shell=True, capture_output=True, text=True
    ).stdout


def test_nodes_reach_each_other_over_the_fabric(lab: LabPlan) -> None:
    network.build(lab)
    one, two = lab.nodes[1], lab.nodes[2]
    with netns.tcp_socket(two.namespace) as server, netns.tcp_socket(one.namespace) as client:
        server.bind((str(two.ip), 0))
        server.listen()
        client.settimeout(5)
        client.connect(server.getsockname())
        assert client.getsockname()[0] == str(one.ip)


def test_the_machines_own_network_is_untouched(lab: LabPlan) -> None:
    before = host_network()
    network.build(lab)
    assert host_network() == before
    network.tear_down(lab.name)
    assert host_network() == before


def test_tear_down_removes_known_and_unknown_namespaces_and_again_nothing(lab: LabPlan) -> None:
    network.build(lab)
    netns.create(plan.pod_namespace(lab.name, "east", "web", "uid-1"))
    assert len(network.tear_down(lab.name)) == 5
    assert netns.names(plan.namespace_prefix(lab.name)) == []
    assert network.tear_down(lab.name) == []


def test_a_namespace_is_freed_with_its_name(lab: LabPlan) -> None:
    network.build(lab)
    mounts = Path("/proc/self/mountinfo").read_text()
    assert lab.nodes[0].namespace in mounts
    network.tear_down(lab.name)
    assert plan.namespace_prefix(lab.name) not in Path("/proc/self/mountinfo").read_text()


def test_a_node_forwards_and_does_not_filter_by_return_path(lab: LabPlan) -> None:
    network.build(lab)
    read = Path("/proc/sys/net/ipv4/ip_forward").read_text
    assert netns.run(lab.nodes[1].namespace, read) == "1\n"


def test_what_crosses_the_fabric_passes_no_packet_filter(lab: LabPlan) -> None:
    network.build(lab)

    def switches() -> set[str]:
        return {path.read_text() for path in Path("/proc/sys/net/bridge").glob("bridge-nf-call-*")}

    machines = switches()
    assert netns.run(lab.fabric, switches) <= {"0\n"}
    assert switches() == machines


def test_work_in_a_namespace_leaves_the_caller_where_it_was(lab: LabPlan) -> None:
    network.build(lab)
    before = {name for _, name in socket.if_nameindex()}
    inside = netns.run(lab.nodes[1].namespace, socket.if_nameindex)
    assert {name for _, name in inside} == {"lo", "eth0"}
    assert {name for _, name in socket.if_nameindex()} == before


def test_an_error_inside_a_namespace_reaches_the_caller(lab: LabPlan) -> None:
    network.build(lab)
    with pytest.raises(OSError, match="no interface nosuch"), netlink.opened() as link:
        link.up("nosuch")
    with pytest.raises(LabError, match="no network namespace"):
        netns.run("cm-nosuch", lambda: None)


def test_every_namespace_has_a_cookie_of_its_own(lab: LabPlan) -> None:
    network.build(lab)
    assert len({netns.cookie(node.namespace) for node in lab.nodes}) == len(lab.nodes)
