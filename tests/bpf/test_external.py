"""External and load balancer addresses for clients outside, and backends on another node's own network."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bpf import ct_map
from bpf.lb_map import (
    FLAG_EXTERNAL_IP,
    FLAG_EXTERNAL_LOCAL,
    FLAG_LOAD_BALANCER,
    FLAG_ROUTABLE,
    FLAG_SOURCE_RANGES,
    FLAG_SOURCE_RANGES_DENY,
    FLAG_TWO_SCOPES,
)
from bpf.lb_wanted import Master
from mesh.localservice import Frontend
from mesh.matching import Backend
from tests.bpf.outside import NODE_PORT, NODE_PORT_FLAGS, PORT, Outside, attach, reached
from tests.bpf.world import Pod, PodError, ip, world

pytestmark = pytest.mark.root

EXTERNAL, WEB_PORT = "203.0.113.7", 80
MIRROR, CLOSED, SOURCE_PORT = 8081, 8082, 41_000
SMALL_MTU = 1280
BALANCED = FLAG_LOAD_BALANCER | FLAG_ROUTABLE
PROTOCOLS = ("TCP", "UDP")
Services = Mapping[Frontend, Sequence[Backend]]


@pytest.fixture(scope="module")
def built(bpffs: Path) -> Iterator[Outside]:
    with world(bpffs) as made:
        clients = made.outside(made.east, "outside", 1), made.outside(made.west, "elsewhere", 2)
        attach(made.east, "eth0", "eth1")
        yield reached(made, *clients)


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def outside(built: Outside, request: pytest.FixtureRequest) -> Outside:
    built.mesh.settle()
    return replace(built, family=request.param)


def at(
    outside: Outside, pod: Pod, *, address: str = EXTERNAL, seen_outside: bool = False
) -> dict[Frontend, list[Backend]]:
    ip = outside.at(address)
    frontends = (Frontend(ip, WEB_PORT, protocol, seen_outside) for protocol in PROTOCOLS)
    return {f: [Backend(outside.at(pod.address), PORT, f.protocol, 1)] for f in frontends}


def ask(outside: Outside, command: str = "tcp", client: Pod | None = None, **more: object) -> Any:
    return (client or outside.client).do(command, ip=outside.at(EXTERNAL), port=WEB_PORT, **more)


def serve(outside: Outside, services: Services, flags: int, *networks: str) -> None:
    masters = dict.fromkeys(services, Master(flags=flags, ranges=networks))
    outside.mesh.east.datapath.services.sync(services, masters=masters)


@pytest.mark.parametrize("flags", [BALANCED, FLAG_EXTERNAL_IP | FLAG_ROUTABLE], ids=["balancer", "external"])
@pytest.mark.parametrize("backend", ["near", "far"])
@pytest.mark.parametrize("command", ["tcp", "udp_connected", "udp"])
def test_a_client_outside_is_answered_at_an_address_that_no_node_has(
    outside: Outside, command: str, backend: str, flags: int
) -> None:
    serve(outside, at(outside, getattr(outside.mesh, backend)), flags)
    answer = ask(outside, command)
    assert answer["said"].startswith(f"{backend}:")
    assert answer["peer"][:2] == [outside.at(EXTERNAL), WEB_PORT]
    assert outside.mesh.east.drops() == outside.mesh.west.drops() == {}


def test_an_external_address_may_be_the_node_s_own(outside: Outside) -> None:
    mesh = outside.mesh
    serve(outside, at(outside, mesh.far, address=mesh.east.address), FLAG_EXTERNAL_IP | FLAG_ROUTABLE)
    assert outside.ask("tcp", port=WEB_PORT)["said"] == "far:hello"


def test_a_cluster_s_own_address_is_not_served_outside(outside: Outside) -> None:
    serve(outside, at(outside, outside.mesh.near), 0)
    with pytest.raises(PodError):
        ask(outside, patience=0.3)
    assert not any(
        ct_map.unpack_key(key).source == outside.at(outside.client.address) for key in _connections(outside)
    )


def _connections(outside: Outside) -> Mapping[bytes, bytes]:
    opened = outside.mesh.east.datapath
    return {**opened.connections.dump(), **opened.connections6.dump()}


def test_clients_outside_and_pods_get_what_is_theirs_where_policies_differ(outside: Outside) -> None:
    mesh = outside.mesh
    inside, others = at(outside, mesh.far), at(outside, mesh.near, seen_outside=True)
    masters = dict.fromkeys(inside, Master(flags=BALANCED | FLAG_TWO_SCOPES))
    masters |= dict.fromkeys(others, Master(flags=BALANCED | FLAG_EXTERNAL_LOCAL))
    mesh.east.datapath.services.sync({**inside, **others}, masters=masters)
    assert ask(outside)["said"] == "near:hello"
    assert ask(outside, client=mesh.client)["said"] == "far:hello"
    mesh.east.datapath.services.sync({**inside, **dict.fromkeys(others, ())}, masters=masters)
    with pytest.raises(PodError):
        ask(outside, patience=0.3)
    assert mesh.east.drops().keys() == {"no backend"}  # once for each time that the client asked


@pytest.mark.parametrize(
    "networks", [("198.18.11.9/32",), ("192.0.2.0/24", "198.18.11.0/28"), ("0.0.0.0/0",)]
)
def test_a_client_of_the_service_s_networks_is_served(outside: Outside, networks: Sequence[str]) -> None:
    serve(
        outside, at(outside, outside.mesh.far), BALANCED | FLAG_SOURCE_RANGES, *map(outside.within, networks)
    )
    for command in ("tcp", "udp"):
        assert ask(outside, command)["said"].startswith("far:")


@pytest.mark.parametrize("networks", [("198.18.11.10/32",), ("192.0.2.0/24",), ()])
def test_a_client_of_other_networks_is_not_served_nor_any_that_has_been(
    outside: Outside, networks: Sequence[str]
) -> None:
    mesh = outside.mesh
    serve(outside, at(outside, mesh.far), BALANCED)
    opened = ask(outside, "open")["stream"]
    serve(outside, at(outside, mesh.far), BALANCED | FLAG_SOURCE_RANGES, *map(outside.within, networks))
    with pytest.raises(PodError):
        ask(outside, patience=0.3)
    with pytest.raises(PodError):
        outside.client.do("say", stream=opened, text="still", patience=0.3)
    assert mesh.east.drops()["not in the service's source ranges"] >= 2
    assert ask(outside, client=mesh.client)["said"] == "far:hello"  # they are for outside


def test_source_ranges_may_be_those_that_are_not_served(outside: Outside) -> None:
    mesh, denying = outside.mesh, BALANCED | FLAG_SOURCE_RANGES | FLAG_SOURCE_RANGES_DENY
    for others in (("198.18.11.10/32",), ("192.0.2.0/24",), ()):
        serve(outside, at(outside, mesh.far), denying, *map(outside.within, others))
        assert ask(outside)["said"] == "far:hello"
    networks = map(outside.within, ("192.0.2.0/24", "198.18.11.0/28"))
    serve(outside, at(outside, mesh.far), denying, *networks)
    with pytest.raises(PodError):
        ask(outside, patience=0.3)
    assert mesh.east.drops().keys() == {"not in the service's source ranges"}
    assert ask(outside, client=mesh.client)["said"] == "far:hello"  # they are for outside


def test_a_process_of_the_node_that_has_the_address_and_port_itself_answers(outside: Outside) -> None:
    """As a pod with hostNetwork does behind a balancer that gives nodes' own addresses."""
    mesh = outside.mesh
    east = Pod("own", mesh.east.namespace, mesh.east.cgroup, mesh.east.address)
    try:
        east.do("serve", port=PORT)
        web = Frontend(outside.node, PORT, "TCP")
        mesh.east.datapath.services.sync(
            {web: [Backend(web.ip, PORT, "TCP", 1)]}, masters={web: Master(flags=BALANCED)}
        )
        opened = outside.ask("open", port=PORT)["stream"]
        assert outside.client.do("say", stream=opened, text="x") == "own:x"
        assert mesh.east.drops() == {}
    finally:
        east.close()


@pytest.fixture
def own_process(outside: Outside) -> Iterator[Pod]:
    """A server on east's own network. It answers UDP from the address that others know east by."""
    east = outside.mesh.east
    here = (outside.within("198.18.11.0/24"), "dev", "eth1", "src", outside.node)
    before = () if outside.family == 4 else ("metric", "100")  # the link's own has 256
    ip("route", "replace", *here, *before, namespace=east.namespace)
    pod = Pod("own", east.namespace, east.cgroup, east.address)
    pod.do("serve", port=PORT)
    pod.do("mirror", port=MIRROR)
    yield pod
    pod.close()


@pytest.mark.parametrize("flags", [BALANCED, FLAG_EXTERNAL_IP | FLAG_ROUTABLE], ids=["balancer", "external"])
@pytest.mark.parametrize("command", ["tcp", "udp_connected", "udp"])
def test_a_backend_on_the_node_s_own_network_answers_as_the_service(
    outside: Outside, own_process: Pod, command: str, flags: int
) -> None:
    serve(outside, at(outside, own_process), flags)
    answer = ask(outside, command)
    assert answer["said"].startswith("own:")
    assert answer["peer"][:2] == [outside.at(EXTERNAL), WEB_PORT]
    assert outside.mesh.east.drops() == {}


def node_port(outside: Outside, port: int = PORT) -> dict[Frontend, list[Backend]]:
    frontends = (Frontend(outside.node, NODE_PORT, protocol) for protocol in PROTOCOLS)
    return {f: [Backend(outside.node, port, f.protocol, 1)] for f in frontends}


@pytest.mark.usefixtures("own_process")
def test_a_node_port_of_it_carries_much_in_whole_and_in_fragments(outside: Outside) -> None:
    serve(outside, node_port(outside, MIRROR), NODE_PORT_FLAGS)
    assert outside.ask("transfer", size=3_000_000)
    serve(outside, node_port(outside), NODE_PORT_FLAGS)
    assert outside.ask("udp", size=6000)["size"] == 6000 + len("own:")
    assert outside.mesh.east.drops() == {}


@pytest.mark.usefixtures("own_process")
def test_who_asks_the_process_itself_is_answered_by_it_from_the_same_port_too(outside: Outside) -> None:
    client, source_port = outside.client, SOURCE_PORT + outside.family
    serve(outside, node_port(outside), NODE_PORT_FLAGS)
    for port in (NODE_PORT, PORT, NODE_PORT):
        opened = outside.ask("open", port=port, source_port=source_port)["stream"]
        assert client.do("say", stream=opened, text="x") == "own:x"
        client.do("reset", stream=opened)


@pytest.mark.usefixtures("own_process")
def test_errors_are_told_both_ways(outside: Outside) -> None:
    mesh = outside.mesh
    serve(outside, node_port(outside, port=CLOSED), NODE_PORT_FLAGS)
    for command in ("tcp", "udp_connected"):
        with pytest.raises(PodError) as refused:
            outside.ask(command)
        assert refused.value.name == "ConnectionRefusedError"
    serve(outside, node_port(outside), NODE_PORT_FLAGS)
    outside.ask("too_big", mtu=SMALL_MTU)
    shown = ip("route", "get", outside.at(outside.client.address), namespace=mesh.east.namespace)
    ip(f"-{outside.family}", "route", "flush", "cache", namespace=mesh.east.namespace)
    assert f"mtu {SMALL_MTU}" in shown


@pytest.mark.usefixtures("own_process")
def test_a_connection_of_it_outlives_its_service(outside: Outside) -> None:
    serve(outside, node_port(outside), NODE_PORT_FLAGS)
    opened = outside.ask("open")["stream"]
    outside.mesh.east.datapath.services.sync({})
    assert outside.client.do("say", stream=opened, text="still") == "own:still"


@pytest.fixture
def on_the_node(outside: Outside) -> Iterator[Pod]:
    """A server on west's own network, as a pod with hostNetwork is."""
    west = outside.mesh.west
    pod = Pod("host", west.namespace, west.cgroup, west.address)
    pod.do("serve", port=PORT)
    yield pod
    pod.close()


@pytest.mark.parametrize("command", ["tcp", "udp_connected", "udp"])
def test_a_backend_on_another_node_s_own_network_answers(
    outside: Outside, on_the_node: Pod, command: str
) -> None:
    outside.east(on_the_node)
    answer = outside.ask(command)
    assert answer["said"].startswith("host:")
    assert {mapping.ip for mapping in outside.mappings() if not mapping.back} == {outside.node}
