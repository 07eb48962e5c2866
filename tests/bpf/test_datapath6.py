"""As test_datapath, over IPv6: real sockets through the real programs, two nodes and a tunnel of IPv4."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpf import affinity_map, ct_map, ipcache_map, policy_map
from mesh.merge import Backend, Frontend
from tests.bpf.test_datapath import CLIENT, FAR, PORT, allow, is_refused
from tests.bpf.world import Node, Pod, PodError, World, ip, v6, world

pytestmark = pytest.mark.root

WEB_TCP, WEB_UDP = Frontend("fd00:20::5", 80, "TCP"), Frontend("fd00:20::5", 80, "UDP")
OLD_TCP, OLD_UDP = Frontend("172.20.1.5", 80, "TCP"), Frontend("172.20.1.5", 80, "UDP")
MAPPED = "::ffff:172.20.1.5"
ICMPV6 = 58


@pytest.fixture(scope="module")
def built(bpffs: Path) -> Iterator[World]:
    with world(bpffs) as made:
        yield made


@pytest.fixture
def mesh(built: World) -> World:
    built.settle()
    return built


def backends(protocol: str, *pods: Pod) -> list[Backend]:
    return [Backend(pod.address6, PORT, protocol, 1) for pod in pods]


def publish(node: Node, *pods: Pod, seconds: int = 0) -> None:
    services = {WEB_TCP: backends("TCP", *pods), WEB_UDP: backends("UDP", *pods)}
    node.datapath.services.sync(services, sticky=dict.fromkeys(services, seconds))


def test_a_pod_reaches_a_pod_of_the_other_cluster_and_one_of_its_own_node(mesh: World) -> None:
    for pod in (mesh.far, mesh.near):
        assert mesh.client.do("tcp", ip=pod.address6, port=PORT)["said"] == f"{pod.name}:hello"
        assert mesh.client.do("udp", ip=pod.address6, port=PORT)["said"] == f"{pod.name}:xxxxx"
        assert mesh.client.do("ping6", ip=pod.address6)
    assert mesh.east.drops() == mesh.west.drops() == {}
