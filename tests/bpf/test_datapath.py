"""Real sockets through the real programs: two nodes, a tunnel, services, policy, restarts."""

import errno
import hashlib
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bpf import affinity_map, ct_map, datapath, lb_map, link, loader, policy_map
from bpf.affinity_map import Client
from bpf.errors import NotLoadedError
from bpf.lb_wanted import Master
from bpf.pins import Pins
from bpf.policy_map import Direction
from mesh.localservice import Frontend
from mesh.matching import Backend
from tests.bpf.bpffs import pins
from tests.bpf.world import Node, Pod, PodError, World, ip, world

pytestmark = pytest.mark.root

CLIENT, NEAR, FAR = 65_601, 65_602, 131_073
PORT = 8080
WEB_TCP, WEB_UDP = Frontend("172.20.1.5", 80, "TCP"), Frontend("172.20.1.5", 80, "UDP")
SOON = 0.4  # seconds; enough for an answer here, and not much to wait for one that must not come


@pytest.fixture(scope="module")
def built(bpffs: Path) -> Iterator[World]:
    with world(bpffs) as made:
        yield made


@pytest.fixture
def mesh(built: World) -> World:
    built.settle()
    return built


def backend(pod: Pod, protocol: str = "TCP") -> Backend:
    return Backend(pod.address, PORT, protocol, 1)


def publish(node: Node, *pods: Pod) -> None:
    services = {
        WEB_TCP: [backend(pod) for pod in pods],
        WEB_UDP: [backend(pod, "UDP") for pod in pods],
    }
    node.datapath.services.sync(services)


def allow(node: Node, endpoint: int, identity: int, port: int = 0, protocol: int = 0) -> bytes:
    key = policy_map.pack_key(endpoint, identity, port, protocol)
    node.datapath.policy.update([(key, policy_map.pack_value())])
    return key


def is_refused(pod: Pod, command: str, **arguments: object) -> bool:
    """No answer within SOON: dropped on the way."""
    with pytest.raises(PodError) as caught:
        pod.do(command, patience=SOON, **arguments)
    return caught.value.name == "TimeoutError"


def test_a_pod_reaches_a_pod_of_the_other_cluster_and_one_of_its_own_node(mesh: World) -> None:
    for pod in (mesh.far, mesh.near):
        assert mesh.client.do("tcp", ip=pod.address, port=PORT)["said"] == f"{pod.name}:hello"
        assert mesh.client.do("udp", ip=pod.address, port=PORT)["said"] == f"{pod.name}:xxxxx"
        assert mesh.client.do("ping", ip=pod.address)
    assert mesh.east.drops() == mesh.west.drops() == {}


def test_clusters_get_their_shares_of_connections(mesh: World) -> None:
    """200 connections, a quarter of them to the far cluster: 50, of which 20 to 85 are within five sigma."""
    near, far = backend(mesh.near), backend(mesh.far)._replace(cluster_id=2)
    weighted = [near._replace(weight=3), far._replace(weight=1)]
    mesh.east.datapath.services.sync({WEB_TCP: weighted})
    said = Counter(mesh.client.do("tcp", ip=WEB_TCP.ip, port=80)["said"] for _ in range(200))
    assert said.keys() == {"near:hello", "far:hello"}
    assert 20 <= said["far:hello"] <= 85
    mesh.east.datapath.services.sync({WEB_TCP: [near]})
    assert {mesh.client.do("tcp", ip=WEB_TCP.ip, port=80)["said"] for _ in range(20)} == {"near:hello"}


def test_a_cluster_ip_is_answered_by_the_other_cluster_and_stays_the_peer(mesh: World) -> None:
    publish(mesh.east, mesh.far)
    peer = [WEB_TCP.ip, WEB_TCP.port]
    assert mesh.client.do("tcp", ip=WEB_TCP.ip, port=80) == {"said": "far:hello", "peer": peer}
    assert mesh.client.do("udp_connected", ip=WEB_UDP.ip, port=80) == {"said": "far:hello", "peer": peer}
    unconnected = mesh.client.do("udp", ip=WEB_UDP.ip, port=80)
    assert (unconnected["said"], unconnected["peer"]) == ("far:xxxxx", peer)


def test_every_backend_of_a_service_answers_in_time(mesh: World) -> None:
    publish(mesh.east, mesh.far, mesh.near)
    said = {mesh.client.do("tcp", ip=WEB_TCP.ip, port=80)["said"] for _ in range(40)}
    assert said == {"far:hello", "near:hello"}  # by chance not: once in 5e11


def stick(node: Node, *pods: Pod, seconds: int = 60) -> None:
    services = {WEB_TCP: [backend(pod) for pod in pods], WEB_UDP: [backend(pod, "UDP") for pod in pods]}
    node.datapath.services.sync(services, masters=dict.fromkeys(services, Master(seconds)))


def said(pod: Pod, command: str = "tcp", times: int = 30) -> set[str]:
    """Who answered; each of two by chance not: once in 5e8."""
    answers = [pod.do(command, ip=WEB_TCP.ip, port=80)["said"] for _ in range(times)]
    return {answer.partition(":")[0] for answer in answers}


def affinities(node: Node) -> list[Client]:
    entries = node.datapath.services.affinity.dump().items()
    return [affinity_map.unpack_client(key, value) for key, value in entries]


def make_older(node: Node, seconds: int) -> None:
    aged = [replace(client, last_used=client.last_used - seconds) for client in affinities(node)]
    node.datapath.services.affinity.update([affinity_map.pack_client(client) for client in aged])


@pytest.mark.parametrize("command", ["tcp", "udp_connected", "udp"])
def test_with_session_affinity_a_client_keeps_its_backend(mesh: World, command: str) -> None:
    stick(mesh.east, mesh.far, mesh.near)
    assert len(said(mesh.client, command)) == 1
    (client,) = affinities(mesh.east)
    make_older(mesh.east, 58)  # back within its time, over and over: that is counted from the last visit
    (before,) = affinities(mesh.east)
    assert len(said(mesh.client, command)) == 1
    (after,) = affinities(mesh.east)
    assert (after.cookie, after.backend_id) == (client.cookie, client.backend_id)
    assert after.last_used >= before.last_used + 58


def test_a_client_that_comes_back_too_late_chooses_again(mesh: World) -> None:
    stick(mesh.east, mesh.far, mesh.near)
    answered: set[str] = set()
    for _ in range(40):
        answered |= said(mesh.client, times=1)
        make_older(mesh.east, 60)
    assert answered == {"far", "near"}


def test_a_backend_that_its_service_loses_loses_its_clients(mesh: World) -> None:
    """Also while another service still has it."""
    both = [backend(mesh.far), backend(mesh.near)]
    other = Frontend("172.20.1.6", 80, "TCP")

    def sync(*backends: Backend) -> None:
        services = {WEB_TCP: backends, other: both}
        mesh.east.datapath.services.sync(services, masters=dict.fromkeys(services, Master(60)))

    sync(*both)
    (first,) = said(mesh.client)
    gone, left = both if first == "far" else reversed(both)
    sync(left)
    (second,) = said(mesh.client, times=3)
    assert second != first
    sync(gone, left)
    assert said(mesh.client) == {second}


def test_clients_and_frontends_have_each_their_own(mesh: World) -> None:
    stick(mesh.east, mesh.far, mesh.near)
    for command in ("tcp", "udp"):
        assert len(said(mesh.client, command)) == len(said(mesh.near, command)) == 1
    assert len({(client.cookie, client.rev_nat) for client in affinities(mesh.east)}) == 4


def test_session_affinity_and_shares_of_clusters_go_together(mesh: World) -> None:
    near, far = backend(mesh.near)._replace(weight=3), backend(mesh.far)._replace(cluster_id=2, weight=1)
    answered: set[str] = set()
    for _ in range(40):  # by chance not both: once in 1e5
        mesh.east.datapath.services.sync({WEB_TCP: [near, far]}, masters={WEB_TCP: Master(60)})
        now = said(mesh.client, times=3)
        assert len(now) == 1
        answered |= now
        mesh.east.datapath.services.affinity.delete(mesh.east.datapath.services.affinity.dump())
    assert answered == {"far", "near"}


def test_without_session_affinity_nothing_is_remembered(mesh: World) -> None:
    stick(mesh.east, mesh.far, mesh.near)
    said(mesh.client, times=1)
    publish(mesh.east, mesh.far, mesh.near)
    assert said(mesh.client) == {"far", "near"}
    stick(mesh.east, mesh.far, mesh.near)
    assert len(said(mesh.client)) == 1


def test_a_pod_reaches_itself_through_its_service(mesh: World) -> None:
    publish(mesh.west, mesh.far)
    peer = [WEB_TCP.ip, WEB_TCP.port]
    assert mesh.far.do("tcp", ip=WEB_TCP.ip, port=80) == {"said": "far:hello", "peer": peer}
    answer = mesh.far.do("udp", ip=WEB_TCP.ip, port=80)
    assert (answer["said"], answer["peer"]) == ("far:xxxxx", peer)


def test_the_node_s_own_processes_are_clients_too(mesh: World) -> None:
    publish(mesh.east, mesh.near)
    host = Pod("host", mesh.east.namespace, mesh.east.cgroup, mesh.east.address)
    try:
        for command in ("tcp", "udp_connected", "udp"):
            assert host.do(command, ip=WEB_TCP.ip, port=80)["said"].startswith("near:")
    finally:
        host.close()


def test_a_service_without_backends_is_refused_at_once(mesh: World) -> None:
    publish(mesh.east)
    for command in ("tcp", "udp_connected", "udp"):
        with pytest.raises(PodError) as caught:
            mesh.client.do(command, ip=WEB_TCP.ip, port=80)
        assert caught.value.errno == errno.EHOSTUNREACH
    assert mesh.east.drops() == {"no backend": 3}


def test_a_list_that_has_just_become_shorter_refuses_nobody(mesh: World) -> None:
    publish(mesh.east, mesh.far, mesh.near)
    # as a reader finds it that read the count before the master entry was rewritten
    slot = lb_map.pack_service(WEB_TCP.ip, WEB_TCP.port, WEB_TCP.protocol, slot=2)
    mesh.east.datapath.services.services.delete([slot])
    said = [mesh.client.do("tcp", ip=WEB_TCP.ip, port=80)["said"] for _ in range(20)]
    assert set(said) == {"far:hello"}


def test_a_process_outside_the_cgroup_is_not_translated(mesh: World) -> None:
    publish(mesh.west, mesh.far)  # east's pods are not in west's cgroup
    assert is_refused(mesh.client, "tcp", ip=WEB_TCP.ip, port=80)


def test_an_enforced_endpoint_is_closed_and_opens_for_an_identity(mesh: World) -> None:
    mesh.enforce(mesh.west, mesh.far, ingress=True)
    assert is_refused(mesh.client, "tcp", ip=mesh.far.address, port=PORT)
    assert is_refused(mesh.client, "ping", ip=mesh.far.address)
    assert mesh.west.drops()["policy denied"] >= 2

    key = allow(mesh.west, 1, CLIENT)
    assert mesh.client.do("tcp", ip=mesh.far.address, port=PORT)["said"] == "far:hello"
    assert mesh.client.do("ping", ip=mesh.far.address)
    mesh.west.datapath.policy.delete([key])
    assert is_refused(mesh.client, "tcp", ip=mesh.far.address, port=PORT)


def test_a_deny_ends_an_established_stream_and_beats_a_wider_allow(mesh: World) -> None:
    mesh.enforce(mesh.west, mesh.far, ingress=True)
    allow(mesh.west, 1, 0)
    stream = mesh.client.do("open", ip=mesh.far.address, port=PORT)["stream"]
    assert mesh.client.do("say", stream=stream, text="one") == "far:one"

    deny = policy_map.pack_key(1, CLIENT, PORT, 6)
    mesh.west.datapath.policy.update([(deny, policy_map.pack_value(deny=True))])
    assert is_refused(mesh.client, "say", stream=stream, text="two")
    assert mesh.west.drops()["policy denied by denylist"] >= 1
    mesh.west.datapath.policy.delete([deny])
    assert mesh.client.do("say", stream=stream, text="", patience=5.0).startswith("far:two")


def test_policy_is_judged_on_one_node_too(mesh: World) -> None:
    mesh.enforce(mesh.east, mesh.near, ingress=True)
    assert is_refused(mesh.client, "tcp", ip=mesh.near.address, port=PORT)
    allow(mesh.east, 2, CLIENT, PORT, 6)
    assert mesh.client.do("tcp", ip=mesh.near.address, port=PORT)["said"] == "near:hello"
    assert is_refused(mesh.client, "udp", ip=mesh.near.address, port=PORT)


def test_replies_pass_an_endpoint_that_admits_nobody(mesh: World) -> None:
    mesh.enforce(mesh.east, mesh.client, ingress=True)
    assert mesh.client.do("tcp", ip=mesh.far.address, port=PORT)["said"] == "far:hello"
    assert mesh.client.do("udp", ip=mesh.far.address, port=PORT)["said"] == "far:xxxxx"
    assert mesh.client.do("ping", ip=mesh.far.address)
    assert is_refused(mesh.far, "ping", ip=mesh.client.address)
    connections = {ct_map.unpack_key(key) for key in mesh.east.datapath.connections.dump()}
    assert {(c.protocol, c.inbound, c.source) for c in connections} == {
        (protocol, False, mesh.client.address) for protocol in (1, 6, 17)
    }


def test_an_address_that_changes_its_owner_brings_no_old_connections(mesh: World) -> None:
    mesh.enforce(mesh.east, mesh.client, ingress=True)
    stream = mesh.client.do("open", ip=mesh.far.address, port=PORT)["stream"]
    mesh.client.do("udp", ip=mesh.near.address, port=PORT)
    assert mesh.east.datapath.forget_connections(mesh.near.address) == 2  # out of the one, into the other
    assert mesh.client.do("say", stream=stream, text="one") == "far:one"
    assert mesh.east.datapath.forget_connections(mesh.client.address) == 1
    assert is_refused(mesh.client, "say", stream=stream, text="two")


def test_an_icmp_error_about_our_own_datagram_comes_back(mesh: World) -> None:
    mesh.enforce(mesh.east, mesh.client, ingress=True)
    with pytest.raises(PodError) as caught:  # nobody listens there
        mesh.client.do("udp_connected", ip=mesh.far.address, port=9)
    assert caught.value.errno == errno.ECONNREFUSED


def test_a_datagram_in_fragments_arrives_whole(mesh: World) -> None:
    mesh.enforce(mesh.west, mesh.far, ingress=True)
    allow(mesh.west, 1, CLIENT, PORT, 17)
    assert mesh.client.do("udp", ip=mesh.far.address, port=PORT, size=6000)["size"] == 6004


def test_egress_is_judged_where_it_is_enforced(mesh: World) -> None:
    mesh.enforce(mesh.east, mesh.client, egress=True)
    assert is_refused(mesh.client, "tcp", ip=mesh.far.address, port=PORT)
    key = policy_map.pack_key(1, FAR, PORT, 6, Direction.EGRESS)
    mesh.east.datapath.policy.update([(key, policy_map.pack_value())])
    assert mesh.client.do("tcp", ip=mesh.far.address, port=PORT)["said"] == "far:hello"
    assert mesh.far.do("ping", ip=mesh.client.address)  # its answer is a reply


def test_a_pod_cannot_speak_with_another_s_address(mesh: World) -> None:
    mesh.client.do("send_as", source=mesh.near.address, ip=mesh.far.address, port=PORT)
    assert mesh.east.drops() == {"invalid source ip": 1}
    assert mesh.west.drops() == {}


def test_the_host_identity_is_refused_in_the_tunnel(mesh: World) -> None:
    """No node sends it; so let east's kernel, which obeys any route, forge the VNI."""
    ghost, east = "10.2.1.99", mesh.east.namespace
    tunnel = ("encap", "ip", "id", "1", "dst", mesh.west.address, "dev", "cilium_vxlan")

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"forged", (ghost, PORT))

    ip("route", "add", ghost, *tunnel, namespace=east)
    try:
        ip("neigh", "add", ghost, "lladdr", "02:00:00:00:00:09", "dev", "cilium_vxlan", namespace=east)
        mesh.east.within(send)
    finally:
        ip("route", "del", ghost, namespace=east)
    assert mesh.west.drops() == {"invalid identity": 1}


def test_a_node_reaches_its_own_pods_whatever_the_policy(mesh: World) -> None:
    def ask() -> bytes:
        with socket.create_connection((mesh.near.address, PORT), timeout=2) as stream:
            stream.sendall(b"probe")
            return stream.recv(100)

    mesh.enforce(mesh.east, mesh.near, ingress=True)
    assert mesh.east.within(ask) == b"near:probe"


def test_loading_again_compiles_nothing_and_replacing_programs_keeps_a_stream_open(
    mesh: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(mesh.east, mesh.far)
    stream = mesh.client.do("open", ip=WEB_TCP.ip, port=80)["stream"]
    before = pins(mesh.east.root)
    programs = program_ids(mesh.east)
    loader.load(mesh.east.root, mesh.east.options)
    assert program_ids(mesh.east) == programs
    assert mesh.client.do("say", stream=stream, text="same") == "far:same"

    original = loader.source_text
    monkeypatch.setattr(loader, "source_text", lambda where: changed(*original(where)))
    for node in (mesh.east, mesh.west):
        loader.load(node.root, node.options)
    assert not program_ids(mesh.east) & programs
    assert pins(mesh.east.root) == before
    assert mesh.client.do("say", stream=stream, text="new") == "far:new"
    assert mesh.client.do("tcp", ip=WEB_TCP.ip, port=80)["said"] == "far:hello"


def changed(text: str, digest: bytes) -> tuple[str, bytes]:
    return text + "\n/* another version */\n", hashlib.sha1(digest).digest()


def program_ids(node: Node) -> set[int]:
    links = Pins(node.root).links
    return {link.read(links / name).program_id for name in (p.name for p in links.iterdir())}


def test_a_restarted_agent_finds_everything_and_attaches_again_in_vain(mesh: World) -> None:
    publish(mesh.east, mesh.far)
    with datapath.open(mesh.east.root) as again:
        before = pins(mesh.east.root)
        again.attach_cgroup(mesh.east.cgroup)
        mesh.east.within(lambda: again.attach_overlay(mesh.east.ifindex("cilium_vxlan")))
        mesh.east.within(lambda: again.attach_pod(mesh.east.ifindex("lxcclient")))
        assert pins(mesh.east.root) == before
        assert again.services.sync({WEB_TCP: [backend(mesh.far)], WEB_UDP: [backend(mesh.far, "UDP")]}) == 0
    assert mesh.client.do("tcp", ip=WEB_TCP.ip, port=80)["said"] == "far:hello"


def test_a_device_that_has_gone_leaves_a_link_that_is_dropped(mesh: World) -> None:
    ip("link", "add", "lxcgone", "type", "veth", "peer", "name", "peer0", namespace=mesh.east.namespace)
    index = mesh.east.ifindex("lxcgone")
    mesh.east.within(lambda: mesh.east.datapath.attach_pod(index))
    attached = {each.target for each in mesh.east.datapath.attachments()}
    assert index in attached
    ip("link", "del", "lxcgone", namespace=mesh.east.namespace)
    assert 0 in {each.target for each in mesh.east.datapath.attachments()}
    mesh.east.datapath.detach_stale()
    assert {each.target for each in mesh.east.datapath.attachments()} == attached - {index}


def test_a_detached_pod_is_no_longer_judged_and_detaching_twice_is_no_error(mesh: World) -> None:
    index = mesh.east.ifindex("lxcnear")
    mesh.east.datapath.detach_pod(index)
    mesh.east.datapath.detach_pod(index)
    assert index not in {each.target for each in mesh.east.datapath.attachments()}
    mesh.east.within(lambda: mesh.east.datapath.attach_pod(index))
    assert mesh.client.do("tcp", ip=mesh.near.address, port=PORT)["said"] == "near:hello"


def test_opening_what_was_never_loaded_says_so(bpffs: Path) -> None:
    with pytest.raises(NotLoadedError, match="no map is pinned"):
        datapath.open(bpffs / "nowhere")
