"""Native routing: no tunnel between the nodes, and a packet's address is who sent it."""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpf import ipcache_map, policy_map
from bpf.ipcache_map import FLAG_SKIP_TUNNEL
from tests.bpf.world import Node, PodError, World, ip, world

pytestmark = pytest.mark.root

PORT = 8080
CLIENT, FAR = 65_601, 131_073
SOON = 0.4


@pytest.fixture(scope="module")
def built(bpffs: Path) -> Iterator[World]:
    with world(bpffs) as made:
        for node, other, pods in (
            (made.east, made.west, "10.2.1.0/24"),
            (made.west, made.east, "10.1.1.0/24"),
        ):
            node.within(forward)
            ip("link", "del", "cilium_vxlan", namespace=node.namespace)
            ip("route", "add", pods, "via", other.address, namespace=node.namespace)
        for pod, identity in ((made.client, CLIENT), (made.near, 65_602)):
            know(made.west, pod.address, identity, made.east)
        know(made.east, made.far.address, FAR, made.west)
        yield made


@pytest.fixture
def mesh(built: World) -> World:
    built.settle()
    return built


def forward() -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def know(node: Node, address: str, identity: int, behind: Node) -> None:
    value = ipcache_map.pack_value(identity, behind.address, flags=FLAG_SKIP_TUNNEL)
    node.datapath.ipcache.update([(ipcache_map.pack_key(address), value)])


def test_a_pod_reaches_a_pod_of_another_node(mesh: World) -> None:
    assert mesh.client.do("tcp", ip=mesh.far.address, port=PORT)["said"] == "far:hello"
    assert mesh.client.do("udp", ip=mesh.far.address, port=PORT, size=6000)["size"] == 6004
    assert mesh.east.drops() == mesh.west.drops() == {}


def test_policy_is_judged_by_the_identity_of_the_address(mesh: World) -> None:
    mesh.enforce(mesh.west, mesh.far, ingress=True)
    with pytest.raises(PodError):
        mesh.client.do("tcp", ip=mesh.far.address, port=PORT, patience=SOON)
    assert mesh.west.drops().keys() == {"policy denied"}
    mesh.west.datapath.policy.update([(policy_map.pack_key(1, CLIENT), policy_map.pack_value())])
    assert mesh.client.do("tcp", ip=mesh.far.address, port=PORT)["said"] == "far:hello"
    mesh.enforce(mesh.west, mesh.far, ingress=True, egress=True)
    assert mesh.client.do("tcp", ip=mesh.far.address, port=PORT)["said"] == "far:hello"  # answers pass


def test_a_node_s_own_process_is_a_remote_node(mesh: World) -> None:
    def ask() -> bytes:
        with socket.create_connection((mesh.far.address, PORT), 2) as stream:
            stream.sendall(b"hello")
            return stream.recv(100)

    mesh.enforce(mesh.west, mesh.far, ingress=True)
    mesh.west.datapath.policy.update([(policy_map.pack_key(1, 6), policy_map.pack_value())])
    assert mesh.east.within(ask) == b"far:hello"


def test_nobody_outside_speaks_with_the_address_of_a_pod_of_the_node(mesh: World) -> None:
    """East's client is asked in the name of its own neighbour, from the network."""
    forged = struct.pack("!BBHHHBBH", 0x45, 0, 28, 7, 0, 64, 17, 0)
    forged += socket.inet_aton(mesh.near.address) + socket.inet_aton(mesh.client.address)
    forged += struct.pack("!HHHH", 4444, PORT, 8, 0)

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            sock.sendto(forged, (mesh.client.address, 0))

    mesh.west.within(send)
    assert mesh.east.drops() == {"invalid source ip": 1}
