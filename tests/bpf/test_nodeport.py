"""Node ports in real namespaces: for the pods of a node, and for clients outside of it."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpf import loader, policy_map
from bpf.lb_map import FLAG_EXTERNAL_LOCAL
from bpf.lb_wanted import Master
from mesh.localservice import Frontend
from mesh.matching import Backend
from tests.bpf.outside import (
    GATEWAY,
    NODE_PORT,
    NODE_PORT_FLAGS,
    PORT,
    Outside,
    attach,
    hashed,
    ip_forward,
    publish,
    reached,
)
from tests.bpf.world import Pod, PodError, World, world

pytestmark = pytest.mark.root

NEAR_ID, FAR_ID = 2, 1  # endpoint numbers
WORLD = 2  # the identity


@pytest.fixture(scope="module")
def built(bpffs: Path) -> Iterator[World]:
    with world(bpffs) as made:
        yield made


@pytest.fixture
def mesh(built: World) -> World:
    built.settle()
    return built


@pytest.mark.parametrize("command", ["tcp", "udp_connected", "udp"])
def test_a_pod_meets_a_node_port_under_every_node_s_address(mesh: World, command: str) -> None:
    publish(mesh.east, [mesh.far], [mesh.far])
    for node in (mesh.east, mesh.west):
        answer = mesh.client.do(command, ip=node.address, port=NODE_PORT)
        assert answer["said"].startswith("far:")
        assert answer["peer"] == [node.address, NODE_PORT]


def test_a_policy_for_clients_outside_does_not_bind_a_pod(mesh: World) -> None:
    publish(mesh.east, [], [mesh.near], NODE_PORT_FLAGS | FLAG_EXTERNAL_LOCAL)
    assert mesh.client.do("tcp", ip=mesh.east.address, port=NODE_PORT)["said"] == "near:hello"


def test_only_nodes_have_node_ports(mesh: World) -> None:
    publish(mesh.east, [mesh.far], [mesh.far])
    with pytest.raises(PodError) as refused:  # the pod itself answers, and it listens elsewhere
        mesh.client.do("tcp", ip=mesh.near.address, port=NODE_PORT)
    assert refused.value.name == "ConnectionRefusedError"


@pytest.fixture(scope="module")
def strangers(built: World) -> tuple[Pod, Pod]:
    found = built.outside(built.east, "outside", 1), built.outside(built.west, "elsewhere", 2)
    for node, device in ((built.east, "eth1"), (built.west, "eth2")):
        attach(node, "eth0", device)
    return found


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def outside(mesh: World, strangers: tuple[Pod, Pod], request: pytest.FixtureRequest) -> Outside:
    return reached(mesh, *strangers, request.param)


@pytest.mark.parametrize("command", ["tcp", "udp_connected", "udp"])
def test_a_client_outside_is_answered_by_a_pod_of_the_node(outside: Outside, command: str) -> None:
    mesh = outside.mesh
    outside.east(mesh.near)
    answer = outside.ask(command)
    assert answer["said"].startswith("near:")
    assert answer["peer"][:2] == [outside.node, NODE_PORT]
    assert outside.mappings() == []  # the pod sees the client itself
    assert mesh.east.drops() == {}


@pytest.mark.parametrize("tunnelled", [True, False], ids=["by the tunnel", "by the underlay"])
@pytest.mark.parametrize("command", ["tcp", "udp_connected", "udp"])
def test_a_client_outside_is_answered_by_a_pod_behind_another_node(
    outside: Outside, command: str, tunnelled: bool
) -> None:
    mesh = outside.mesh
    if not tunnelled:
        loader.load(mesh.east.root, mesh.east.options)  # no address among the pods
        ip_forward(mesh.west)
    outside.east(mesh.far)
    answer = outside.ask(command)
    assert answer["said"].startswith("far:")
    assert answer["peer"][:2] == [outside.node, NODE_PORT]
    seen = {mapping.ip for mapping in outside.mappings() if not mapping.back}
    assert seen == {outside.at(GATEWAY) if tunnelled else outside.node}
    assert mesh.east.drops() == mesh.west.drops() == {}


@pytest.mark.parametrize("size", [5, 1_420, 1_472, 8_000])
@pytest.mark.parametrize("backend", ["near", "far"])
def test_datagrams_of_every_size_pass(outside: Outside, backend: str, size: int) -> None:
    """1472 bytes fill the underlay's packets and do not fit the tunnel's; more are fragments already."""
    outside.east(getattr(outside.mesh, backend))
    answer = outside.ask("udp", size=size)
    assert answer["size"] == size + len(f"{backend}:")


@pytest.mark.parametrize("backend", ["near", "far"])
def test_a_checksum_that_no_device_fills_in_is_right_after_the_translation(
    outside: Outside, backend: str
) -> None:
    outside.east(getattr(outside.mesh, backend))
    assert outside.ask("udp_summed", source=outside.at(outside.client.address)) == f"{backend}:hello"


@pytest.mark.parametrize("backend", ["near", "far"])
def test_a_long_stream_passes_both_ways(outside: Outside, backend: str) -> None:
    outside.east(getattr(outside.mesh, backend))
    opened = outside.ask("open")["stream"]
    for _ in range(20):
        said = outside.client.do("echo", stream=opened, size=60_000)
        assert said >= 60_000


def test_a_connection_stays_at_its_backend_when_the_service_has_others(outside: Outside) -> None:
    mesh = outside.mesh
    outside.east(mesh.near)
    opened = outside.ask("open")["stream"]
    outside.east(mesh.far)
    assert outside.client.do("say", stream=opened, text="still") == "near:still"
    assert outside.ask("tcp")["said"] == "far:hello"


def test_a_service_that_is_gone_keeps_its_connections_and_takes_no_others(outside: Outside) -> None:
    mesh = outside.mesh
    outside.east(mesh.far)
    opened = outside.ask("open")["stream"]
    port = {"source_port": 61_400 + outside.family, "patience": 0.3}
    outside.ask("udp", **port)
    other = [Frontend(outside.at("172.20.1.5"), 80, protocol) for protocol in ("TCP", "UDP")]
    far = outside.at(mesh.far.address)
    mesh.east.datapath.services.sync({f: [Backend(far, PORT, f.protocol, 1)] for f in other})  # they keep it
    assert outside.client.do("say", stream=opened, text="still") == "far:still"
    for command, more in (("tcp", {}), ("udp", port)):
        with pytest.raises(PodError):
            outside.ask(command, **more)


def test_every_backend_answers_some_clients(outside: Outside) -> None:
    """40 connections to two pods: that one of them gets none has the odds 2 ** -39."""
    mesh = outside.mesh
    outside.east(mesh.near, mesh.far)
    ask = (outside.ask("tcp")["said"] for _ in range(40))
    assert set(Counter(ask)) == {"near:hello", "far:hello"}


def test_a_client_keeps_its_backend_where_the_service_asks_for_it(outside: Outside) -> None:
    mesh = outside.mesh
    outside.east(mesh.near, mesh.far, sticky=60)
    ask = {outside.ask("tcp")["said"] for _ in range(20)}
    assert len(ask) == 1


def test_a_service_without_backends_drops_and_one_that_is_none_is_the_node_s_own_matter(
    outside: Outside,
) -> None:
    mesh = outside.mesh
    outside.east()
    with pytest.raises(PodError) as silent:
        outside.ask("tcp", patience=0.3)
    assert silent.value.name == "TimeoutError"
    assert mesh.east.drops()["no backend"] >= 1
    with pytest.raises(PodError) as refused:
        outside.ask("tcp", port=NODE_PORT + 1)
    assert refused.value.name == "ConnectionRefusedError"


def test_an_entry_that_is_no_node_port_is_not_served_outside(outside: Outside) -> None:
    outside.east(outside.mesh.near, flags=0)
    with pytest.raises(PodError) as refused:
        outside.ask("tcp")
    assert refused.value.name == "ConnectionRefusedError"


@pytest.mark.parametrize("backend", ["near", "far"])
def test_policy_sees_the_world_on_either_node(outside: Outside, backend: str) -> None:
    mesh = outside.mesh
    pod = getattr(mesh, backend)
    node, number = (mesh.east, NEAR_ID) if pod is mesh.near else (mesh.west, FAR_ID)
    outside.east(pod)
    mesh.enforce(node, pod, ingress=True)
    with pytest.raises(PodError):
        outside.ask("tcp", patience=0.3)
    assert node.drops()["policy denied"] >= 1
    key = policy_map.pack_key(number, WORLD, PORT, 6)
    node.datapath.policy.update([(key, policy_map.pack_value())])
    said = outside.ask("tcp")["said"]
    assert said == f"{backend}:hello"


def test_clients_behind_one_node_get_ports_of_their_own(outside: Outside) -> None:
    mesh = outside.mesh
    outside.east(mesh.far)
    streams = [outside.ask("open")["stream"] for _ in range(50)]
    for number, stream in enumerate(streams):
        assert outside.client.do("say", stream=stream, text=f"<{number}>") == f"far:<{number}>"
    ports = [mapping.port for mapping in outside.mappings() if not mapping.back]
    assert len(set(ports)) == len(ports) >= 50  # an older connection's last words may be among them
    assert min(ports) >= 32_768


def test_a_port_that_another_client_has_is_not_given_again(outside: Outside) -> None:
    """The client's own port is tried first: here another connection has it. Ports of tests are above
    61000, where no client gets one by itself."""
    port = 61_100 + outside.family
    outside.east(outside.mesh.far)
    first = outside.ask("open", source_port=port)["stream"]
    again = outside.ask("open", source_port=port, source=outside.at("198.18.11.10"))["stream"]
    for stream in (first, again):
        assert outside.client.do("say", stream=stream, text=str(stream)) == f"far:{stream}"
    seen = {m.source: m.port for m in outside.mappings() if not m.back and m.source_port == port}
    assert seen[outside.at("198.18.11.9")] == port != seen[outside.at("198.18.11.10")]


def test_a_client_may_use_its_port_again_and_is_sent_to_another_backend(outside: Outside) -> None:
    mesh = outside.mesh
    for backend in (mesh.near, mesh.far, mesh.near):
        outside.east(backend)
        opened = outside.ask("open", source_port=61_200 + outside.family)
        assert outside.client.do("say", stream=opened["stream"], text="x") == f"{backend.name}:x"
        outside.client.do("reset", stream=opened["stream"])


@pytest.fixture
def two_ways(outside: Outside) -> Iterator[Outside]:
    with hashed(outside.mesh):
        yield outside


def test_a_client_s_port_leads_to_the_same_backend_through_two_nodes(two_ways: Outside) -> None:
    """32 ports and two backends: that chance gives the same has the odds 2 ** -32."""
    mesh = two_ways.mesh
    two_ways.serve(mesh.east, [mesh.near, mesh.far])
    two_ways.serve(mesh.west, [mesh.far, mesh.near])
    nodes = [two_ways.at(node.address) for node in (mesh.east, mesh.west)]
    said = [
        [two_ways.client.do("udp", ip=ip, port=NODE_PORT, source_port=port)["said"] for ip in nodes]
        for port in range(61_300, 61_332)
    ]
    assert all(one == other for one, other in said)
    assert {one for one, _ in said} == {"near:xxxxx", "far:xxxxx"}


def test_a_service_without_a_table_is_served_at_random(two_ways: Outside) -> None:
    mesh = two_ways.mesh
    two_ways.east(mesh.near, mesh.far)
    maglev = two_ways.maglev
    assert len(maglev.tables.dump()) == 2
    maglev.size = 0
    two_ways.east(mesh.near, mesh.far)
    assert maglev.tables.dump() == maglev.slots.dump() == {}
    ask = (two_ways.ask("tcp")["said"] for _ in range(40))
    assert set(ask) == {"near:hello", "far:hello"}


def test_tables_follow_the_service_s_backends_and_go_with_it(two_ways: Outside) -> None:
    mesh = two_ways.mesh
    maglev = two_ways.maglev
    web = Frontend(two_ways.node, NODE_PORT, "TCP")
    both = [Backend(two_ways.at(pod.address), PORT, "TCP", 1) for pod in (mesh.near, mesh.far)]
    services = mesh.east.datapath.services
    masters = {web: Master(flags=NODE_PORT_FLAGS)}
    services.sync({web: both}, masters=masters)
    before = maglev.tables.dump()
    assert (
        services.sync({web: both}, masters={web: Master(flags=NODE_PORT_FLAGS)}) == 0
    )  # a restart changes nothing
    services.change({web: both[1:]}, masters=masters)
    assert maglev.tables.dump() != before
    for _ in range(10):
        assert two_ways.ask("tcp")["said"] == "far:hello"
    services.change({web: None})
    assert maglev.tables.dump() == maglev.slots.dump() == {}
