"""The node's own processes through the tunnel: to pods of other nodes, and their answers back."""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpf import ipcache_map, policy_map
from tests.bpf.world import Node, PodError, World, ip, v6, world

pytestmark = pytest.mark.root

PORT = 8080
INSIDE, FAR_INSIDE = "10.1.1.1", "10.2.1.1"  # the nodes' addresses among the pods
FAR_HEALTH = {4: "10.2.1.254", 6: v6("10.2.1.254")}
HEALTH, REMOTE_NODE = 4, 6
SOON = 0.4


@pytest.fixture(scope="module")
def built(bpffs: Path) -> Iterator[World]:
    with world(bpffs) as made:
        join(made.east, made.west, INSIDE, "10.2.1.0/24")
        join(made.west, made.east, FAR_INSIDE, "10.1.1.0/24")
        announce_health(made.west, made.east)
        yield made


@pytest.fixture
def mesh(built: World) -> World:
    built.settle()
    return built


def join(node: Node, other: Node, inside: str, pods: str) -> None:
    """What the agent does: an address among the pods that both nodes know, and a route to the other's."""
    ip("addr", "add", f"{inside}/32", "dev", "lo", namespace=node.namespace)
    ip("link", "set", "cilium_vxlan", "arp", "off", namespace=node.namespace)
    through = ("via", other.address, "dev", "cilium_vxlan", "onlink", "src", inside)
    ip("route", "add", pods, *through, namespace=node.namespace)
    own = ipcache_map.pack_value(1, None)
    node.datapath.ipcache.update([(ipcache_map.pack_key(each), own) for each in (inside, v6(inside))])
    entry = ipcache_map.pack_value(REMOTE_NODE, node.address)
    other.datapath.ipcache.update([(ipcache_map.pack_key(each), entry) for each in (inside, v6(inside))])
    ip("addr", "add", f"{v6(inside)}/128", "dev", "lo", "nodad", namespace=node.namespace)
    pods6 = f"{v6(pods.partition('/')[0])}/64"
    ip("-6", "route", "add", pods6, "dev", "cilium_vxlan", "src", v6(inside), namespace=node.namespace)


def announce_health(node: Node, other: Node) -> None:
    for address in FAR_HEALTH.values():
        ip("addr", "add", address, "dev", "lo", namespace=node.namespace)
        for where, tunnel in ((node, None), (other, node.address)):
            value = ipcache_map.pack_value(HEALTH, tunnel)
            where.datapath.ipcache.update([(ipcache_map.pack_key(address), value)])


def ping6(address: str) -> bool:
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        sock.settimeout(2)
        sock.sendto(struct.pack("!BBHHH", 128, 0, 0, 77, 1), (address, 0))  # the kernel sums it up
        answer, _ = sock.recvfrom(2048)
        return answer[0] == 129


def ping(address: str) -> bool:
    """Whether an echo comes back; the checksum is of this one packet."""
    if ":" in address:
        return ping6(address)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(2)
        sock.sendto(struct.pack("!BBHHH", 8, 0, 0xFFFF - 0x0800 - 77 - 1, 77, 1), (address, 0))
        answer, _ = sock.recvfrom(2048)
        return answer[20] == 0


def outcome(address: str, port: int) -> str:
    try:
        socket.create_connection((address, port), SOON).close()
    except OSError as error:
        return type(error).__name__
    return "open"


def asked(address: str, source: str = "", patience: float = 2.0) -> tuple[bytes, str]:
    """What a server says, and the address that we asked it from."""
    with socket.create_connection((address, PORT), patience, (source, 0)) as stream:
        stream.sendall(b"hello")
        return stream.recv(100), stream.getsockname()[0]


def datagram(address: str, size: int) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.sendto(b"x" * size, (address, PORT))
        return len(sock.recv(65536))


def test_a_node_s_process_reaches_a_pod_of_another_node(mesh: World) -> None:
    far = mesh.far.address
    assert mesh.east.within(lambda: asked(far)) == (b"far:hello", INSIDE)
    assert mesh.east.within(lambda: datagram(far, 6000)) == 6004  # in fragments both ways
    assert mesh.east.drops() == mesh.west.drops() == {}


def test_the_pod_s_policy_sees_a_remote_node(mesh: World) -> None:
    mesh.enforce(mesh.west, mesh.far, ingress=True)
    with pytest.raises(TimeoutError):
        mesh.east.within(lambda: asked(mesh.far.address, patience=SOON))
    assert mesh.west.drops().keys() == {"policy denied"}
    mesh.west.datapath.policy.update([(policy_map.pack_key(1, REMOTE_NODE), policy_map.pack_value())])
    assert mesh.east.within(lambda: asked(mesh.far.address))[0] == b"far:hello"


def test_strict_reverse_path_filters_do_not_matter(mesh: World) -> None:
    def set_filter(value: str) -> None:
        for device in ("all", "cilium_vxlan", "eth0"):
            Path(f"/proc/sys/net/ipv4/conf/{device}/rp_filter").write_text(value)

    mesh.east.within(lambda: set_filter("1"))
    try:
        assert mesh.east.within(lambda: asked(mesh.far.address))[0] == b"far:hello"
    finally:
        mesh.east.within(lambda: set_filter("0"))


def test_an_answer_passes_though_its_connection_was_forgotten(mesh: World) -> None:
    def talk() -> bytes:
        with socket.create_connection((mesh.far.address, PORT), 2) as stream:
            assert mesh.east.datapath.forget_connections(INSIDE)
            stream.sendall(b"still")
            return stream.recv(100)

    assert mesh.east.within(talk) == b"far:still"


def test_nobody_opens_a_connection_to_a_node_through_the_tunnel(mesh: World) -> None:
    def listen() -> socket.socket:
        return socket.create_server((INSIDE, PORT))

    with mesh.east.within(listen), pytest.raises(PodError):
        mesh.far.do("tcp", ip=INSIDE, port=PORT, patience=SOON)
    assert mesh.east.drops().keys() == {"policy denied"}


def set_forwarding(value: str) -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text(value)


def test_a_node_answers_a_pod_that_came_through_the_underlay(mesh: World) -> None:
    """The pod's node sends it there, as the address of a node has no tunnel."""
    mesh.west.within(lambda: set_forwarding("1"))
    with mesh.east.within(lambda: socket.create_server((mesh.east.address, PORT))) as server:
        stream = mesh.far.do("open", ip=mesh.east.address, port=PORT)["stream"]
        peer, (address, _) = server.accept()
        assert address == mesh.far.address
        with peer:
            peer.sendall(b"from the node")
            assert mesh.far.do("say", stream=stream, text="thanks") == "from the node"


def forge(source: str, destination: str) -> None:
    header = struct.pack("!BBHHHBBH", 0x45, 0, 28, 7, 0, 64, 17, 0)
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        sock.sendto(header + addresses + struct.pack("!HHHH", 4444, PORT, 8, 0), (destination, 0))


def test_only_the_node_s_own_packets_are_sent_as_its_own(mesh: World) -> None:
    mesh.east.within(lambda: forge("203.0.113.9", mesh.far.address))
    assert mesh.east.drops() == {"invalid source ip": 1}
    assert mesh.west.drops() == {}


def test_a_pod_that_nobody_knows_is_told_apart(mesh: World) -> None:
    mesh.east.within(lambda: forge(INSIDE, "10.2.1.99"))
    assert mesh.east.drops() == {"no tunnel": 1}


@pytest.mark.parametrize("family", [4, 6])
def test_another_node_s_probes_reach_the_health_address_and_nothing_else_does(
    mesh: World, family: int
) -> None:
    east, west, health = mesh.east, mesh.west, FAR_HEALTH[family]

    def serve(port: int) -> socket.socket:
        return socket.create_server((health, port), family=socket.AF_INET6 if family == 6 else socket.AF_INET)

    assert east.within(lambda: outcome(health, 4240)) == "ConnectionRefusedError"  # nobody serves: an answer
    with west.within(lambda: serve(4240)):
        assert east.within(lambda: outcome(health, 4240)) == "open"
    assert east.within(lambda: ping(health))
    assert east.drops() == west.drops() == {}
    with west.within(lambda: serve(PORT)):
        assert east.within(lambda: outcome(health, PORT)) == "TimeoutError"
    with pytest.raises(PodError):
        mesh.client.do("ping6" if family == 6 else "ping", ip=health, patience=SOON)  # a pod is no node
    assert west.drops().keys() == {"policy denied"}
