"""As test_datapath, over IPv6: real sockets through the real programs, two nodes and a tunnel of IPv4."""

import errno
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bpf import affinity_map, ct_map, ipcache_map, lb_map, policy_map
from bpf.address import Family
from bpf.lb_wanted import Master
from mesh.localservice import Frontend
from mesh.matching import Backend
from tests.bpf.test_datapath import CLIENT, FAR, PORT, allow, is_refused
from tests.bpf.testrun6 import UDP, Packet6
from tests.bpf.world import Node, Pod, PodError, World, ip, mac, v6, world

pytestmark = pytest.mark.root

WEB_TCP, WEB_UDP = Frontend("fd00:20::5", 80, "TCP"), Frontend("fd00:20::5", 80, "UDP")
OTHER = Frontend("fd00:20::6", 80, "TCP")
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


def publish(node: Node, *pods: Pod, seconds: int = 0, also: Sequence[Pod] = ()) -> None:
    services = {WEB_TCP: backends("TCP", *pods), WEB_UDP: backends("UDP", *pods)}
    services |= {OTHER: backends("TCP", *also)}
    node.datapath.services.sync(services, masters=dict.fromkeys(services, Master(seconds)))


def test_a_pod_reaches_a_pod_of_the_other_cluster_and_one_of_its_own_node(mesh: World) -> None:
    for pod in (mesh.far, mesh.near):
        assert mesh.client.do("tcp", ip=pod.address6, port=PORT)["said"] == f"{pod.name}:hello"
        assert mesh.client.do("udp", ip=pod.address6, port=PORT)["said"] == f"{pod.name}:xxxxx"
        assert mesh.client.do("ping6", ip=pod.address6)
    assert mesh.east.drops() == mesh.west.drops() == {}


@pytest.mark.parametrize("command", ["tcp", "udp_connected", "udp"])
def test_a_cluster_ip_is_answered_by_the_other_cluster_and_stays_the_peer(mesh: World, command: str) -> None:
    publish(mesh.east, mesh.far)
    answer = mesh.client.do(command, ip=WEB_TCP.ip, port=80)
    assert answer["said"].startswith("far:")
    assert answer["peer"][:2] == [WEB_TCP.ip, WEB_TCP.port]
    publish(mesh.west, mesh.far)  # and a pod reaches itself
    assert mesh.far.do(command, ip=WEB_TCP.ip, port=80)["said"].startswith("far:")


@pytest.mark.parametrize("command", ["tcp", "udp_connected", "udp"])
def test_a_socket_of_ipv6_reaches_services_of_ipv4_at_mapped_addresses(mesh: World, command: str) -> None:
    old = {
        frontend: [Backend(mesh.far.address, PORT, frontend.protocol, 1)] for frontend in (OLD_TCP, OLD_UDP)
    }
    mesh.east.datapath.services.sync(old)
    answer = mesh.client.do(command, ip=MAPPED, port=80)
    assert answer["said"].startswith("far:")
    assert answer["peer"][:2] == [MAPPED, 80]
    mesh.east.datapath.services.sync({each: [] for each in old})
    assert refused(mesh, command, MAPPED) == errno.EHOSTUNREACH


@pytest.mark.parametrize("command", ["tcp", "udp_connected", "udp"])
def test_a_service_without_backends_is_refused_at_once(mesh: World, command: str) -> None:
    publish(mesh.east)
    assert refused(mesh, command, WEB_TCP.ip) == errno.EHOSTUNREACH
    assert mesh.east.drops() == {"no backend": 1}


def refused(mesh: World, command: str, address: str) -> int | None:
    with pytest.raises(PodError) as caught:
        mesh.client.do(command, ip=address, port=80)
    return caught.value.errno


def said(pod: Pod, address: str = WEB_TCP.ip, command: str = "tcp", times: int = 30) -> set[str]:
    """Who answered; each of two by chance not: once in 5e8."""
    answers = [pod.do(command, ip=address, port=80)["said"] for _ in range(times)]
    return {answer.partition(":")[0] for answer in answers}


def test_every_backend_answers_in_time_and_with_affinity_a_client_keeps_its_own(mesh: World) -> None:
    publish(mesh.east, mesh.far, mesh.near)
    assert said(mesh.client) == {"far", "near"}
    publish(mesh.east, mesh.far, mesh.near, seconds=60)
    for command in ("tcp", "udp", "udp_connected"):
        assert len(said(mesh.client, command=command)) == 1
    entries = mesh.east.datapath.services.affinity6.dump().items()
    clients = [affinity_map.unpack_client(key, value) for key, value in entries]
    assert len(clients) == 2  # of one pod, at two frontends
    assert all(client.backend_id >= 1 << 31 for client in clients)
    (first,) = said(mesh.client, times=1)
    left = mesh.near if first == "far" else mesh.far
    publish(mesh.east, left, seconds=60, also=(mesh.far, mesh.near))  # lost, though another service has it
    (second,) = said(mesh.client, times=3)
    assert second != first
    publish(mesh.east, mesh.far, mesh.near, seconds=60)
    assert said(mesh.client) == {second}
    answered: set[str] = set()
    for _ in range(40):  # and too late each time
        answered |= said(mesh.client, times=1)
        make_older(mesh.east, 60)
    assert answered == {"far", "near"}


def make_older(node: Node, seconds: int) -> None:
    held = node.datapath.services.affinity6
    clients = [affinity_map.unpack_client(key, value) for key, value in held.dump().items()]
    aged = [replace(client, last_used=client.last_used - seconds) for client in clients]
    held.update(affinity_map.pack_client(client, Family.IPV6) for client in aged)


def test_a_mapped_address_is_the_same_client_s(mesh: World) -> None:
    both = [Backend(pod.address, PORT, "TCP", 1) for pod in (mesh.far, mesh.near)]
    mesh.east.datapath.services.sync({OLD_TCP: both}, masters={OLD_TCP: Master(60)})
    assert len(said(mesh.client, MAPPED, times=15) | said(mesh.client, OLD_TCP.ip, times=15)) == 1
    mesh.east.datapath.services.sync({OLD_TCP: both})
    assert said(mesh.client, MAPPED) == {"far", "near"}


NODE_PORT = 30_080


@pytest.mark.parametrize("command", ["tcp", "udp_connected", "udp"])
def test_a_pod_meets_a_node_port_under_every_node_s_address(mesh: World, command: str) -> None:
    anywhere = {Frontend("::", NODE_PORT, name): backends(name, mesh.far) for name in ("TCP", "UDP")}
    mesh.east.datapath.services.sync(
        anywhere, masters=dict.fromkeys(anywhere, Master(flags=lb_map.FLAG_NODE_PORT))
    )
    for node in (mesh.east, mesh.west):
        answer = mesh.client.do(command, ip=v6(node.address), port=NODE_PORT)
        assert answer["said"].startswith("far:")
        assert answer["peer"][:2] == [v6(node.address), NODE_PORT]
    with pytest.raises(PodError) as other:  # the pod itself answers, and it listens elsewhere
        mesh.client.do("tcp", ip=mesh.near.address6, port=NODE_PORT)
    assert other.value.name == "ConnectionRefusedError"


def test_clusters_get_their_shares_of_connections(mesh: World) -> None:
    """200 connections, a quarter of them to the far cluster: 50, of which 20 to 85 are within five sigma."""
    near, far = backends("TCP", mesh.near, mesh.far)
    weighted = [near._replace(weight=3), far._replace(weight=1, cluster_id=2)]
    mesh.east.datapath.services.sync({WEB_TCP: weighted})
    answers = [mesh.client.do("tcp", ip=WEB_TCP.ip, port=80)["said"] for _ in range(200)]
    assert 20 <= answers.count("far:hello") <= 85
    assert answers.count("far:hello") + answers.count("near:hello") == 200


def test_an_enforced_endpoint_is_closed_and_opens_for_an_identity(mesh: World) -> None:
    mesh.enforce(mesh.west, mesh.far, ingress=True)
    assert is_refused(mesh.client, "tcp", ip=mesh.far.address6, port=PORT)
    assert is_refused(mesh.client, "ping6", ip=mesh.far.address6)
    assert mesh.west.drops()["policy denied"] >= 2
    key = allow(mesh.west, 1, CLIENT)
    assert mesh.client.do("tcp", ip=mesh.far.address6, port=PORT)["said"] == "far:hello"
    assert mesh.client.do("ping6", ip=mesh.far.address6)
    mesh.west.datapath.policy.delete([key])
    assert is_refused(mesh.client, "tcp", ip=mesh.far.address6, port=PORT)


def test_policy_knows_ports_and_the_types_of_icmpv6(mesh: World) -> None:
    mesh.enforce(mesh.east, mesh.near, ingress=True)
    allow(mesh.east, 2, CLIENT, PORT, 6)
    assert mesh.client.do("tcp", ip=mesh.near.address6, port=PORT)["said"] == "near:hello"
    assert is_refused(mesh.client, "udp", ip=mesh.near.address6, port=PORT)
    assert is_refused(mesh.client, "ping6", ip=mesh.near.address6)
    allow(mesh.east, 2, CLIENT, policy_map.ICMP_TYPES + 128, ICMPV6)
    assert mesh.client.do("ping6", ip=mesh.near.address6)


def test_a_deny_ends_an_established_stream(mesh: World) -> None:
    mesh.enforce(mesh.west, mesh.far, ingress=True)
    allow(mesh.west, 1, 0)
    stream = mesh.client.do("open", ip=mesh.far.address6, port=PORT)["stream"]
    assert mesh.client.do("say", stream=stream, text="one") == "far:one"
    deny = policy_map.pack_key(1, CLIENT, PORT, 6)
    mesh.west.datapath.policy.update([(deny, policy_map.pack_value(deny=True))])
    assert is_refused(mesh.client, "say", stream=stream, text="two")
    assert mesh.west.drops()["policy denied by denylist"] >= 1


def test_replies_pass_an_endpoint_that_admits_nobody(mesh: World) -> None:
    mesh.enforce(mesh.east, mesh.client, ingress=True)
    assert mesh.client.do("tcp", ip=mesh.far.address6, port=PORT)["said"] == "far:hello"
    assert mesh.client.do("udp", ip=mesh.far.address6, port=PORT)["said"] == "far:xxxxx"
    assert mesh.client.do("ping6", ip=mesh.far.address6)
    assert is_refused(mesh.far, "ping6", ip=mesh.client.address6)
    connections = {ct_map.unpack_key(key) for key in mesh.east.datapath.connections6.dump()}
    assert {(c.protocol, c.inbound, c.source) for c in connections} == {
        (protocol, False, mesh.client.address6) for protocol in (6, 17, ICMPV6)
    }


def test_an_address_that_changes_its_owner_brings_no_old_connections(mesh: World) -> None:
    mesh.enforce(mesh.east, mesh.client, ingress=True)
    stream = mesh.client.do("open", ip=mesh.far.address6, port=PORT)["stream"]
    mesh.client.do("udp", ip=mesh.near.address6, port=PORT)
    assert mesh.east.datapath.forget_connections(mesh.near.address6) == 2
    assert mesh.client.do("say", stream=stream, text="one") == "far:one"
    assert mesh.east.datapath.forget_connections(mesh.client.address) == 0
    assert mesh.east.datapath.forget_connections(mesh.client.address6) == 1
    assert is_refused(mesh.client, "say", stream=stream, text="two")


def test_an_error_about_our_own_datagram_comes_back(mesh: World) -> None:
    mesh.enforce(mesh.east, mesh.client, ingress=True)
    with pytest.raises(PodError) as caught:  # nobody listens there
        mesh.client.do("udp_connected", ip=mesh.far.address6, port=9)
    assert caught.value.errno == errno.ECONNREFUSED


def test_a_pod_learns_that_its_packets_are_too_big_for_the_way(mesh: World) -> None:
    mesh.enforce(mesh.east, mesh.client, ingress=True)
    mesh.east.within(lambda: Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1"))
    narrow = ("2001:db8::/64", "dev", "eth0", "mtu", "lock", "1280")
    ip("-6", "route", "add", *narrow, namespace=mesh.east.namespace)
    try:
        assert is_refused(mesh.client, "udp", ip="2001:db8::9", port=PORT, size=1350)  # nobody is there
        assert "mtu 1280" in ip("-6", "route", "get", "2001:db8::9", namespace=mesh.client.namespace)
    finally:
        ip("-6", "route", "del", *narrow, namespace=mesh.east.namespace)


def test_a_datagram_in_fragments_arrives_whole(mesh: World) -> None:
    mesh.enforce(mesh.west, mesh.far, ingress=True)
    allow(mesh.west, 1, CLIENT, PORT, 17)
    assert mesh.client.do("udp", ip=mesh.far.address6, port=PORT, size=6000)["size"] == 6004


def test_egress_is_judged_where_it_is_enforced(mesh: World) -> None:
    mesh.enforce(mesh.east, mesh.client, egress=True)
    assert is_refused(mesh.client, "tcp", ip=mesh.far.address6, port=PORT)
    key = policy_map.pack_key(1, FAR, PORT, 6, policy_map.Direction.EGRESS)
    mesh.east.datapath.policy.update([(key, policy_map.pack_value())])
    assert mesh.client.do("tcp", ip=mesh.far.address6, port=PORT)["said"] == "far:hello"
    assert mesh.far.do("ping6", ip=mesh.client.address6)  # its answer is a reply


def test_a_pod_cannot_speak_with_another_s_address(mesh: World) -> None:
    for source in (mesh.near.address6, "fe80::7"):
        forged = Packet6(source, mesh.far.address6, UDP).frame()[14:]
        mesh.client.do("send_raw6", packet=forged.hex(), ip=mesh.far.address6)
    assert mesh.east.drops() == {"invalid source ip": 2}
    assert mesh.west.drops() == {}


def test_a_node_reaches_its_own_pods_whatever_the_policy(mesh: World) -> None:
    def ask() -> bytes:
        with socket.create_connection((mesh.near.address6, PORT), timeout=2) as stream:
            stream.sendall(b"probe")
            return stream.recv(100)

    mesh.enforce(mesh.east, mesh.near, ingress=True)
    assert mesh.east.within(ask) == b"near:probe"
    assert mesh.east.drops() == {}


def test_the_node_s_own_processes_are_clients_too(mesh: World) -> None:
    publish(mesh.east, mesh.near)
    host = Pod("host", mesh.east.namespace, mesh.east.cgroup, mesh.east.address)
    try:
        for command in ("tcp", "udp_connected", "udp"):
            assert host.do(command, ip=WEB_TCP.ip, port=80)["said"].startswith("near:")
    finally:
        host.close()


def test_the_gateway_has_the_host_s_mac_and_keeps_it_when_it_is_asked_again(mesh: World) -> None:
    """A probe comes from the pod's link-local address, the first question from its own."""
    host = mac(mesh.east.namespace, "lxcclient")
    ip("-6", "neigh", "flush", "dev", "eth0", namespace=mesh.client.namespace)
    assert mesh.client.do("ping6", ip=mesh.far.address6)
    assert gateway(mesh.client)["lladdr"] == host
    here = ("fe80::1", "lladdr", host, "dev", "eth0", "nud", "probe")
    ip("-6", "neigh", "replace", *here, namespace=mesh.client.namespace)
    wait_until(lambda: gateway(mesh.client)["state"] == ["REACHABLE"])
    assert mesh.east.drops() == {}


def gateway(pod: Pod) -> dict[str, Any]:
    (entry,) = json.loads(ip("-6", "-j", "neigh", "show", "fe80::1", "dev", "eth0", namespace=pod.namespace))
    return dict(entry)


def test_an_address_is_found_to_be_free(mesh: World) -> None:
    space = {"namespace": mesh.client.namespace}
    ip("addr", "add", "fd00:10:1:1::77/128", "dev", "eth0", **space)
    try:
        wait_until(lambda: "tentative" not in ip("-6", "addr", "show", "dev", "eth0", **space))
        assert "dadfailed" not in ip("-6", "addr", "show", "dev", "eth0", **space)
    finally:
        ip("addr", "del", "fd00:10:1:1::77/128", "dev", "eth0", **space)
    assert mesh.east.drops() == {}


def wait_until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_neighbour_discovery_does_not_come_through_the_tunnel(mesh: World) -> None:
    """No program lets it in; so let east's kernel, which obeys any route, send it."""
    far, east = mesh.far.address6, mesh.east.namespace
    tunnel = ("encap", "ip", "id", str(CLIENT), "dst", mesh.west.address, "dev", "cilium_vxlan")
    ip("-6", "route", "add", far, *tunnel, namespace=east)
    try:
        ip("-6", "neigh", "add", far, "lladdr", "02:00:00:00:00:09", "dev", "cilium_vxlan", namespace=east)
        for kind in (134, 136, 137):
            forged = Packet6(mesh.client.address6, far, ICMPV6, icmp_type=kind, hop_limit=255)
            mesh.east.within(lambda packet=forged: send_raw(packet.frame()[14:], far))
    finally:
        ip("-6", "route", "del", far, namespace=east)
    assert mesh.west.drops() == {"unknown ICMPv6 type": 3}


def send_raw(packet: bytes, address: str) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        sock.sendto(packet, (address, 0))


def test_a_node_s_process_reaches_a_pod_of_another_node_and_is_closed_to_it(mesh: World) -> None:
    inside, far = "fd00:10:1:1::1", mesh.far.address6
    for node in (mesh.east, mesh.west):
        ip("link", "set", "cilium_vxlan", "arp", "off", namespace=node.namespace)
    ip("addr", "add", f"{inside}/128", "dev", "lo", "nodad", namespace=mesh.east.namespace)
    ip("-6", "route", "add", far, "dev", "cilium_vxlan", "src", inside, namespace=mesh.east.namespace)
    key = ipcache_map.pack_key(inside)
    mesh.east.datapath.ipcache.update([(key, ipcache_map.pack_value(1, None))])
    mesh.west.datapath.ipcache.update([(key, ipcache_map.pack_value(6, mesh.east.address))])

    def ask() -> bytes:
        with socket.create_connection((far, PORT), timeout=2) as stream:
            stream.sendall(b"probe")
            return stream.recv(100)

    assert mesh.east.within(ask) == b"far:probe"
    assert mesh.east.drops() == mesh.west.drops() == {}
    assert is_refused(mesh.far, "ping6", ip=inside)
    assert mesh.east.drops() == {"policy denied": 1}
