"""A pod is wired to its node as a CNI plugin would do it, and unwired without a trace."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab import netns, network, plan
from lab.errors import NetworkNotReadyError
from lab.node.agent_client import AgentClient
from lab.node.podnet import PodInterface, PodNetwork
from lab.plan import LabPlan
from tests.lab.fake_agent import FakeAgent


@pytest.fixture
def node(lab: LabPlan) -> plan.NodePlan:
    network.build(lab)
    return lab.nodes[1]


@pytest.fixture
def wanted(lab: LabPlan, node: plan.NodePlan) -> PodInterface:
    namespace = plan.pod_namespace(lab.name, "east", "web", "u-1")
    return PodInterface("web", "default", "u-1", namespace, node.namespace)


@pytest.fixture
def pods(tmp_path: Path) -> PodNetwork:
    return PodNetwork(AgentClient("node-1", tmp_path / "agent.sock"), tmp_path / "addresses")


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[FakeAgent]:
    fake = FakeAgent()
    async with fake.serving(tmp_path / "agent.sock"):
        yield fake


def links(namespace: str) -> list[str]:
    return sorted(name for _, name in netns.run(namespace, socket.if_nameindex))


def inside(namespace: str, command: str) -> str:
    argv = ["nsenter", f"--net={netns.path(namespace)}", *command.split()]
    return subprocess.run(argv, capture_output=True, text=True).stdout


async def test_a_pod_is_wired_and_the_agent_told(
    pods: PodNetwork, agent: FakeAgent, wanted: PodInterface
) -> None:
    assert await pods.add(wanted) == ("10.1.1.2", "fd00:10:1:1::2")
    assert agent.addresses == dict.fromkeys(("10.1.1.2", "fd00:10:1:1::2"), "default/web")
    told = agent.endpoints["u-1"]
    assert told["interface-name"] == wanted.name
    assert told["addressing"] == {"ipv4": "10.1.1.2", "ipv6": "fd00:10:1:1::2"}
    assert (told["k8s-pod-name"], told["k8s-namespace"]) == ("web", "default")
    assert int(told["netns-cookie"]) == netns.cookie(wanted.namespace)
    assert f"lladdr {told['host-mac']}" in inside(wanted.namespace, "ip neigh show 10.1.1.1")
    shown = inside(wanted.node_namespace, f"ip -o link show {wanted.name}")
    assert shown.startswith(f"{told['interface-index']}: ") and told["host-mac"] in shown
    await pods.remove(wanted)


async def test_the_pod_has_an_address_and_a_gateway_a_family_and_the_tunnels_mtu(
    pods: PodNetwork, agent: FakeAgent, wanted: PodInterface
) -> None:
    await pods.add(wanted)
    assert "inet 10.1.1.2/32" in inside(wanted.namespace, "ip -o -4 addr show eth0")
    routes = inside(wanted.namespace, "ip route")
    assert routes.startswith("default via 10.1.1.1 dev eth0")
    assert re.search("^10.1.1.1 dev eth0 .*scope link", routes, re.MULTILINE)
    assert "mtu 1450" in inside(wanted.namespace, "ip -o link show eth0")
    shown = inside(wanted.namespace, "ip -o -6 addr show eth0 scope global")
    assert "inet6 fd00:10:1:1::2/128" in shown and "nodad" in shown and "tentative" not in shown
    assert "default via fe80::1 dev eth0" in inside(wanted.namespace, "ip -6 route")
    assert "mtu 1450" in inside(wanted.namespace, "ip -6 route show default")
    await pods.remove(wanted)


async def test_the_node_reaches_its_pod_without_arp(
    pods: PodNetwork, agent: FakeAgent, wanted: PodInterface, node: plan.NodePlan
) -> None:
    await pods.add(wanted)
    with netns.tcp_socket(wanted.namespace) as server, netns.tcp_socket(wanted.node_namespace) as client:
        server.bind(("10.1.1.2", 8080))
        server.listen()
        client.settimeout(5)
        client.connect(("10.1.1.2", 8080))
        assert client.getsockname()[0] == str(node.ip)
    await pods.remove(wanted)


async def test_removing_a_pod_returns_everything(
    pods: PodNetwork, agent: FakeAgent, wanted: PodInterface, tmp_path: Path
) -> None:
    await pods.add(wanted)
    await pods.remove(wanted)
    assert (agent.addresses, agent.endpoints) == ({}, {})
    assert links(wanted.node_namespace) == ["eth0", "lo"]
    assert wanted.namespace not in netns.names()
    assert list((tmp_path / "addresses").iterdir()) == []
    await pods.remove(wanted)  # again: nothing


async def test_an_absent_agent_is_named_and_leaves_nothing(pods: PodNetwork, wanted: PodInterface) -> None:
    with pytest.raises(NetworkNotReadyError, match="the agent on node node-1 does not answer"):
        await pods.add(wanted)
    assert wanted.namespace not in netns.names()


async def test_a_refused_endpoint_is_undone(pods: PodNetwork, agent: FakeAgent, wanted: PodInterface) -> None:
    agent.refuses_endpoints = True
    with pytest.raises(NetworkNotReadyError, match="500 map full"):
        await pods.add(wanted)
    assert agent.addresses == {}
    assert links(wanted.node_namespace) == ["eth0", "lo"]


async def test_a_cancelled_pod_is_undone(pods: PodNetwork, agent: FakeAgent, wanted: PodInterface) -> None:
    agent.stalls_endpoints.set()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pods.add(wanted), 1)
    assert agent.addresses == {}
    assert wanted.namespace not in netns.names()


async def test_addresses_of_an_absent_agent_are_returned_when_it_is_back(
    pods: PodNetwork, wanted: PodInterface, tmp_path: Path
) -> None:
    fake = FakeAgent()
    async with fake.serving(tmp_path / "agent.sock"):
        await pods.add(wanted)
    await pods.remove(wanted)
    assert fake.addresses != {}
    async with fake.serving(tmp_path / "agent.sock"):
        await pods.reclaim(live={"u-1"})
        assert fake.addresses != {}
        await pods.reclaim(live=set())
    assert (fake.addresses, fake.endpoints) == ({}, {})


async def test_an_address_is_given_back_once_whoever_wants_to(
    pods: PodNetwork, agent: FakeAgent, wanted: PodInterface
) -> None:
    await pods.add(wanted)
    await asyncio.gather(pods.reclaim(set()), pods.remove(wanted), pods.reclaim(set()))
    assert sorted(agent.releases) == ["10.1.1.2", "fd00:10:1:1::2"]  # a second time it might be another pod's
