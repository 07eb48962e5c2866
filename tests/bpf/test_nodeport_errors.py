"""What goes wrong at node ports: ICMP errors both ways, as sockets and pods learn of them; and pretenders."""

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bpf.outside import GATEWAY, PORT, Outside, attach, reached
from tests.bpf.world import PodError, ip, world

pytestmark = pytest.mark.root

SMALL_MTU = 1_300  # IPv6 knows none below 1280
CLOSED = 9  # nobody listens there


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


def serve(outside: Outside, backend: str, port: int = PORT) -> None:
    outside.serve(outside.mesh.east, [getattr(outside.mesh, backend)], port=port)


@pytest.mark.parametrize("backend", ["near", "far"])
def test_a_client_is_told_that_the_backend_s_port_is_closed(outside: Outside, backend: str) -> None:
    serve(outside, backend, CLOSED)
    with pytest.raises(PodError) as refused:
        outside.ask("udp_connected")
    assert refused.value.errno == errno.ECONNREFUSED  # its socket took the error for its own packet's


@pytest.mark.parametrize("backend", ["near", "far"])
def test_a_backend_is_told_of_a_small_mtu_on_the_way_to_its_client(outside: Outside, backend: str) -> None:
    serve(outside, backend)
    mesh = outside.mesh
    pod = getattr(mesh, backend)
    outside.ask("too_big", mtu=SMALL_MTU)
    seen = outside.at(outside.client.address if backend == "near" else GATEWAY)
    namespace = f"{mesh.east.namespace.removesuffix('-east')}-{pod.name}"
    assert f"mtu {SMALL_MTU}" in ip("route", "get", seen, namespace=namespace)
    assert outside.ask("udp", size=1_400)["size"] > 1_400  # in fragments
    assert mesh.east.drops() == mesh.west.drops() == {}


@pytest.mark.parametrize("backend", ["near", "far"])
@pytest.mark.parametrize("pretended", ["near", "far"])
def test_nobody_outside_passes_for_a_pod(outside: Outside, backend: str, pretended: str) -> None:
    mesh = outside.mesh
    outside.east(getattr(mesh, backend))
    outside.ask("send_as", source=outside.at(getattr(mesh, pretended).address))
    assert mesh.east.drops() == {"invalid source ip": 1}
    assert outside.mappings() == []


@pytest.mark.parametrize("backend", ["near", "far"])
def test_nobody_outside_passes_for_the_node(outside: Outside, backend: str) -> None:
    """Whom every policy lets in."""
    mesh = outside.mesh
    outside.east(getattr(mesh, backend))
    outside.ask("send_as", source=outside.node)
    assert mesh.east.drops() == {"invalid source ip": 1}
    assert outside.mappings() == []
