"""Native routing: no tunnel between the nodes, and a packet's address is who sent it. Both families.

The way is narrower than the pods': what a router says of that must reach who sent too much.
"""

import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bpf import loader, policy_map
from bpf.lb_map import FLAG_NODE_PORT, FLAG_ROUTABLE
from bpf.lb_wanted import Master
from mesh.localservice import Frontend
from mesh.matching import Backend
from tests.bpf.natively import CLIENT, FAR, NARROW, route_natively
from tests.bpf.outside import attach
from tests.bpf.world import Pod, PodError, World, ip, world

pytestmark = pytest.mark.root

PORT, MIRROR, NODE_PORT = 8080, 8081, 30_081
SOON = 0.4
REMOTE_NODE = 6
SIZE = 3_000_000
DATAGRAM = 4000
PATIENCES = {4: (2.0,), 6: (SOON, SOON, 2.0)}  # of IPv6 one is lost on the narrow way, and then an answer
FRONTS = {4: "172.20.1.5", 6: "fd00:20::5"}

families = pytest.mark.parametrize("family", [4, 6])


@pytest.fixture(scope="module")
def built(bpffs: Path) -> Iterator[World]:
    with world(bpffs) as made:
        route_natively(made)
        made.far.do("mirror", port=MIRROR)
        yield made


@pytest.fixture
def mesh(built: World) -> World:
    built.settle()
    for pod in (built.client, built.far):
        for family in ("-4", "-6"):
            ip(family, "route", "flush", "cache", namespace=pod.namespace)  # what it has learned of the way
    return built


def address(pod: Pod, family: int) -> str:
    return pod.address6 if family == 6 else pod.address


def allow(mesh: World, identity: int) -> None:
    mesh.west.datapath.policy.update([(policy_map.pack_key(1, identity), policy_map.pack_value())])


@families
def test_a_pod_reaches_a_pod_of_another_node(mesh: World, family: int) -> None:
    far = address(mesh.far, family)
    assert mesh.client.do("tcp", ip=far, port=PORT)["said"] == "far:hello"
    assert mesh.client.do("udp", ip=far, port=PORT, size=1000)["size"] == 1004
    assert mesh.client.do("ping6" if family == 6 else "ping", ip=far)
    assert mesh.east.drops() == mesh.west.drops() == {}


@families
def test_policy_is_judged_by_the_identity_of_the_address(mesh: World, family: int) -> None:
    far = address(mesh.far, family)
    mesh.enforce(mesh.west, mesh.far, ingress=True)
    with pytest.raises(PodError):
        mesh.client.do("tcp", ip=far, port=PORT, patience=SOON)
    assert mesh.west.drops().keys() == {"policy denied"}
    allow(mesh, CLIENT)
    assert mesh.client.do("tcp", ip=far, port=PORT)["said"] == "far:hello"
    mesh.enforce(mesh.west, mesh.far, ingress=True, egress=True)
    assert mesh.client.do("tcp", ip=far, port=PORT)["said"] == "far:hello"  # answers pass


@families
def test_a_node_s_own_process_is_a_remote_node(mesh: World, family: int) -> None:
    def ask() -> bytes:
        with socket.create_connection((address(mesh.far, family), PORT), 2) as stream:
            stream.sendall(b"hello")
            return stream.recv(100)

    mesh.enforce(mesh.west, mesh.far, ingress=True)
    allow(mesh, REMOTE_NODE)
    assert mesh.east.within(ask) == b"far:hello"


@families
def test_nobody_outside_speaks_with_the_address_of_a_pod_of_the_node(mesh: World, family: int) -> None:
    """East's client is asked in the name of its own neighbour, from the network."""
    udp = struct.pack("!HHHH", 4444, PORT, 8, 0)
    source, target = address(mesh.near, family), address(mesh.client, family)
    if family == 6:
        kind = socket.AF_INET6
        forged = struct.pack("!IHBB", 6 << 28, len(udp), 17, 64)
    else:
        kind = socket.AF_INET
        forged = struct.pack("!BBHHHBBH", 0x45, 0, 28, 7, 0, 64, 17, 0)
    forged += socket.inet_pton(kind, source) + socket.inet_pton(kind, target) + udp

    def send() -> None:
        with socket.socket(kind, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            sock.sendto(forged, (target, 0))

    mesh.west.within(send)
    assert mesh.east.drops() == {"invalid source ip": 1}


def target(mesh: World, family: int, by: str, port: int) -> dict[str, object]:
    """East's client asks west's pod, at its own address or at that of a Service."""
    if by == "pod":
        return {"ip": address(mesh.far, family), "port": port}
    service = {
        Frontend(FRONTS[family], port, protocol): [Backend(address(mesh.far, family), port, protocol, 1)]
        for protocol in ("TCP", "UDP")
    }
    mesh.east.datapath.services.sync(service)
    return {"ip": FRONTS[family], "port": port}


def enforce(mesh: World) -> None:
    """Only what the two say to one another is allowed, in either direction: nothing of a router's."""
    mesh.enforce(mesh.east, mesh.client, ingress=True, egress=True)
    mesh.enforce(mesh.west, mesh.far, ingress=True, egress=True)
    to_far = policy_map.pack_key(1, FAR, direction=policy_map.Direction.EGRESS)
    mesh.east.datapath.policy.update([(to_far, policy_map.pack_value())])
    mesh.west.datapath.policy.update([(policy_map.pack_key(1, CLIENT), policy_map.pack_value())])


def learned(pod: Pod, other: Pod, family: int) -> str:
    return ip(f"-{family}", "route", "get", address(other, family), namespace=pod.namespace)


@families
@pytest.mark.parametrize("by", ["pod", "service"])
def test_a_transfer_arrives_and_both_ends_have_learned_of_the_narrow_way(
    mesh: World, by: str, family: int
) -> None:
    enforce(mesh)
    assert mesh.client.do("transfer", **target(mesh, family, by, MIRROR), size=SIZE)
    assert f"mtu {NARROW}" in learned(mesh.client, mesh.far, family)
    assert f"mtu {NARROW}" in learned(mesh.far, mesh.client, family)
    assert mesh.east.drops() == mesh.west.drops() == {}


@families
@pytest.mark.parametrize("by", ["pod", "service"])
def test_a_datagram_of_several_fragments_arrives(mesh: World, by: str, family: int) -> None:
    enforce(mesh)
    asked = target(mesh, family, by, PORT)
    assert any(arrives(mesh.client, asked, patience) for patience in PATIENCES[family])
    lost = {"first fragment not found": 1} if family == 6 else {}  # a last one, too small to be lost before
    assert mesh.east.drops() == mesh.west.drops() == lost


def arrives(pod: Pod, asked: dict[str, object], patience: float = 2.0) -> bool:
    try:
        came = pod.do("udp", **asked, size=DATAGRAM, patience=patience)["size"]
    except PodError:
        return False
    return bool(came == DATAGRAM + len("far:"))


def test_a_client_outside_learns_of_it_behind_a_node_port(mesh: World) -> None:
    """Of IPv4. Routers speak of a packet that the node sent in its own name."""
    outside = mesh.outside(mesh.east, "outside", 3)
    attach(mesh.east, "eth0", "eth1", "eth3")
    options = replace(mesh.east.options, underlay_ifindex=mesh.east.ifindex("eth1"))
    loader.load(mesh.east.root, options)
    at: dict[str, object] = {"ip": mesh.east.address, "port": NODE_PORT}
    served = {
        Frontend(mesh.east.address, NODE_PORT, protocol): [Backend(mesh.far.address, port, protocol, 1)]
        for protocol, port in (("TCP", MIRROR), ("UDP", PORT))
    }
    master = Master(flags=FLAG_NODE_PORT | FLAG_ROUTABLE)
    mesh.east.datapath.services.sync(served, masters=dict.fromkeys(served, master))
    assert outside.do("transfer", **at, size=SIZE)
    assert f"mtu {NARROW}" in ip("route", "get", mesh.east.address, namespace=outside.namespace)
    assert arrives(outside, at)
    assert mesh.east.drops() == mesh.west.drops() == {}
