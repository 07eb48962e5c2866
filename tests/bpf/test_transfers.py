"""Much at once, both families: large transfers, fragments, checksums by device or software, narrow ways."""

import ctypes
import fcntl
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mesh.localservice import Frontend
from mesh.matching import Backend
from tests.bpf.test_datapath import is_refused
from tests.bpf.world import Pod, World, ip, within, world

pytestmark = pytest.mark.root

PORT, MIRROR = 8080, 8081
SIZE = 3_000_000  # hundreds of packets of 64 KiB, thousands of 1450
FRAGMENTED = 4000
FRONTS = {4: "172.20.1.5", 6: "fd00:20::5"}
_SIOCETHTOOL, _GET_TX_SUMS, _SET_TX_SUMS = 0x8946, 0x16, 0x17  # linux/sockios.h, linux/ethtool.h

families = pytest.mark.parametrize("family", [4, 6])


@pytest.fixture(scope="module")
def built(bpffs: Path) -> Iterator[World]:
    with world(bpffs) as made:
        for pod in (made.client, made.near, made.far):
            pod.do("mirror", port=MIRROR)
        yield made


@pytest.fixture
def mesh(built: World) -> World:
    built.settle()
    return built


def address(pod: Pod, family: int) -> str:
    return pod.address6 if family == 6 else pod.address


def publish(mesh: World, pod: Pod) -> None:
    """One Service of both families at both nodes, in front of one pod."""
    ports = ((80, PORT, "TCP"), (80, PORT, "UDP"), (81, MIRROR, "TCP"))
    services = {
        Frontend(front, port, protocol): [Backend(address(pod, family), target, protocol, 1)]
        for family, front in FRONTS.items()
        for port, target, protocol in ports
    }
    for node in (mesh.east, mesh.west):
        node.datapath.services.sync(services)


def arrives(mesh: World, family: int) -> bool:
    """From east's client to its neighbour, and through the tunnel to the other node, and back."""
    for pod in (mesh.near, mesh.far):
        publish(mesh, pod)
        assert mesh.client.do("transfer", ip=FRONTS[family], port=81, size=SIZE)
        assert mesh.client.do("udp", ip=FRONTS[family], port=80)["said"] == f"{pod.name}:xxxxx"
        whole = mesh.client.do("udp", ip=FRONTS[family], port=80, size=FRAGMENTED)["size"]
        assert whole == FRAGMENTED + len(f"{pod.name}:")
    return mesh.east.drops() == mesh.west.drops() == {}


@families
def test_a_pod_s_own_bytes_come_back_to_it_through_its_service(mesh: World, family: int) -> None:
    publish(mesh, mesh.far)
    assert mesh.far.do("transfer", ip=FRONTS[family], port=81, size=SIZE)
    assert mesh.far.do("udp", ip=FRONTS[family], port=80, size=FRAGMENTED)["size"] == FRAGMENTED + 4
    for command in ("tcp", "udp_connected"):
        assert mesh.far.do(command, ip=FRONTS[family], port=80)["peer"][:2] == [FRONTS[family], 80]


@families
@pytest.mark.parametrize("offloaded", [True, False], ids=["offloaded", "in software"])
def test_checksums_are_right_whoever_writes_them(mesh: World, family: int, offloaded: bool) -> None:
    """In software the receiving kernel verifies them: a wrong one is counted there, and nothing arrives."""
    ends = [(pod.namespace, "eth0") for pod in (mesh.client, mesh.near, mesh.far)]
    ends += [(node.namespace, "eth0") for node in (mesh.east, mesh.west)]
    ends += [(mesh.east.namespace, "lxcclient"), (mesh.west.namespace, "lxcfar")]
    with tx_checksums(ends, on=offloaded):
        assert arrives(mesh, family)
    for pod in (mesh.client, mesh.near, mesh.far):
        assert within(pod.namespace, checksum_errors) == 0


@families
def test_through_an_underlay_that_is_too_narrow_everything_arrives_all_the_same(
    mesh: World, family: int
) -> None:
    """The tunnel's own packets are fragmented: 1450 bytes and the tunnel's 50 do not fit."""
    for node in (mesh.east, mesh.west):
        ip("link", "set", "eth0", "mtu", "1400", namespace=node.namespace)
    try:
        assert arrives(mesh, family)
    finally:
        for node in (mesh.east, mesh.west):
            ip("link", "set", "eth0", "mtu", "1500", namespace=node.namespace)


def test_a_pod_learns_that_its_packets_are_too_big_for_the_way(mesh: World) -> None:
    """Of IPv4; test_datapath6 has the other family."""
    mesh.enforce(mesh.east, mesh.client, ingress=True)
    mesh.east.within(lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"))
    narrow = ("203.0.113.0/24", "dev", "eth0", "mtu", "lock", "1280")
    ip("route", "add", *narrow, namespace=mesh.east.namespace)
    try:
        assert is_refused(mesh.client, "udp", ip="203.0.113.9", port=PORT, size=1350)  # nobody is there
        assert "mtu 1280" in ip("route", "get", "203.0.113.9", namespace=mesh.client.namespace)
    finally:
        ip("route", "del", *narrow, namespace=mesh.east.namespace)


@contextmanager
def tx_checksums(ends: list[tuple[str, str]], *, on: bool) -> Iterator[None]:
    """Whether devices are left to write checksums; as before afterwards."""
    before = {end: within(end[0], lambda end=end: _ethtool(end[1], _GET_TX_SUMS)) for end in ends}
    assert all(before.values())
    try:
        for namespace, device in ends:
            within(namespace, lambda device=device: _ethtool(device, _SET_TX_SUMS, on))
            assert within(namespace, lambda device=device: _ethtool(device, _GET_TX_SUMS)) == on
        yield
    finally:
        for (namespace, device), was in before.items():
            within(namespace, lambda device=device, was=was: _ethtool(device, _SET_TX_SUMS, was))


def _ethtool(device: str, command: int, value: int = 0) -> int:
    wish = (ctypes.c_uint32 * 2)(command, value)
    request = struct.pack("16sP16x", device.encode(), ctypes.addressof(wish))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCETHTOOL, request)
    return int(wish[1])


def checksum_errors() -> int:
    """Packets that the namespace of the calling thread refused for their checksum."""
    found = 0
    snmp = Path("/proc/thread-self/net/snmp").read_text().splitlines()
    for names, values in zip(snmp[::2], snmp[1::2], strict=True):
        counted = dict(zip(names.split(), values.split(), strict=True))
        found += int(counted.get("InCsumErrors", 0))
    for line in Path("/proc/thread-self/net/snmp6").read_text().splitlines():
        name, _, value = line.partition(" ")
        found += int(value) if name.endswith("InCsumErrors") else 0
    return found
