"""What goes wrong at node ports: ICMP errors both ways, as sockets and pods learn of them; and pretenders."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpf.lb_wanted import Master
from mesh.localservice import Frontend
from mesh.matching import Backend
from tests.bpf.outside import GATEWAY, NODE_PORT, NODE_PORT_FLAGS, PORT, Outside, attach, mappings, reached
from tests.bpf.world import PodError, ip, world

pytestmark = pytest.mark.root

SMALL_MTU = 1_200
CLOSED = 9  # nobody listens there


@pytest.fixture(scope="module")
def outside(bpffs: Path) -> Iterator[Outside]:
    with world(bpffs) as made:
        made.settle()
        clients = made.outside(made.east, "outside", 1), made.outside(made.west, "elsewhere", 2)
        attach(made.east, "eth0", "eth1")
        yield reached(made, *clients)


def serve(outside: Outside, backend: str, port: int = PORT) -> None:
    node, pod = outside.mesh.east, getattr(outside.mesh, backend)
    web = {Frontend(node.address, NODE_PORT, p): [Backend(pod.address, port, p, 1)] for p in ("TCP", "UDP")}
    node.datapath.services.sync(web, masters=dict.fromkeys(web, Master(flags=NODE_PORT_FLAGS)))


@pytest.mark.parametrize("backend", ["near", "far"])
def test_a_client_is_told_that_the_backend_s_port_is_closed(outside: Outside, backend: str) -> None:
    serve(outside, backend, CLOSED)
    with pytest.raises(PodError) as refused:
        outside.client.do("udp_connected", ip=outside.mesh.east.address, port=NODE_PORT)
    assert refused.value.errno == errno.ECONNREFUSED  # its socket took the error for its own packet's


@pytest.mark.parametrize("backend", ["near", "far"])
def test_a_backend_is_told_of_a_small_mtu_on_the_way_to_its_client(outside: Outside, backend: str) -> None:
    serve(outside, backend)
    mesh, client = outside.mesh, outside.client
    pod = getattr(mesh, backend)
    client.do("too_big", ip=mesh.east.address, port=NODE_PORT, mtu=SMALL_MTU)
    seen = client.address if backend == "near" else GATEWAY
    namespace = f"{mesh.east.namespace.removesuffix('-east')}-{pod.name}"
    assert f"mtu {SMALL_MTU}" in ip("route", "get", seen, namespace=namespace)
    assert client.do("udp", ip=mesh.east.address, port=NODE_PORT, size=1_400)["size"] > 1_400  # in fragments
    assert mesh.east.drops() == mesh.west.drops() == {}


@pytest.mark.parametrize("backend", ["near", "far"])
@pytest.mark.parametrize("pretended", ["near", "far"])
def test_nobody_outside_passes_for_a_pod(outside: Outside, backend: str, pretended: str) -> None:
    mesh = outside.mesh
    mesh.settle()
    outside.east(getattr(mesh, backend))
    source = getattr(mesh, pretended).address
    outside.client.do("send_as", source=source, ip=mesh.east.address, port=NODE_PORT)
    assert mesh.east.drops() == {"invalid source ip": 1}
    assert mappings(mesh.east) == []
