"""Who may bind a number at which a service answers clients outside: pods, and no process of the node."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bpf import datapath, host_netns, ipcache_map, link, loader, metrics_map
from bpf.datapath import Datapath
from bpf.lb_map import FLAG_DELEGATE_IF_LOCAL, FLAG_EXTERNAL_IP, FLAG_EXTERNAL_LOCAL, FLAG_LOAD_BALANCER
from bpf.lb_wanted import Master
from bpf.pins import Pins
from bpf.programspec import SOCKET_PROGRAMS
from bpf.requirements import mounts
from mesh.localservice import Frontend
from mesh.matching import Backend
from tests.bpf.conftest import NODE as OPTIONS
from tests.bpf.outside import ANY_NODE, NODE_PORT, NODE_PORT_FLAGS, PORT
from tests.bpf.world import Pod, PodError, ip, v6, within

pytestmark = pytest.mark.root

NODE, POD = "198.18.1.11", "10.1.1.10"
BALANCER, CLUSTER_IP = "203.0.113.7", "172.20.1.5"
EVERYWHERE = [ANY_NODE, NODE, "::", f"::ffff:{NODE}", v6(NODE)]
KINDS = ["SOCK_STREAM", "SOCK_DGRAM"]
BACKEND = "10.1.1.11"


@dataclass
class Scene:
    """A process of the node and one in a pod, both in the cgroup of the loaded programs."""

    root: Path
    loaded: Datapath
    node: Pod
    pod: Pod

    def know(self, cookie: int) -> None:
        loader.load(self.root, replace(OPTIONS, host_netns=cookie))

    def serve(
        self, flags: int = NODE_PORT_FLAGS, *addresses: str, port: int = NODE_PORT, protocols: str = "TCP UDP"
    ) -> None:
        """As the agent does for a node port of both families; or at these addresses."""
        services = {
            Frontend(address, port, protocol): [
                Backend(v6(BACKEND) if ":" in address else BACKEND, PORT, protocol, 1)
            ]
            for address in addresses or (ANY_NODE, NODE, "::")
            for protocol in protocols.split()
        }
        self.loaded.services.sync(services, masters=dict.fromkeys(services, Master(flags=flags)))


@pytest.fixture(scope="module")
def processes(loaded_root: Path) -> Iterator[tuple[Pod, Pod]]:
    cgroup = (
        next(mount.path for mount in mounts() if mount.type == "cgroup2") / f"clustermesh-bind-{os.getpid()}"
    )
    with ExitStack() as stack:
        cgroup.mkdir()
        stack.callback(cgroup.rmdir)
        with datapath.open(loaded_root) as opened:
            opened.attach_cgroup(cgroup)
        for program in SOCKET_PROGRAMS:
            stack.callback(link.detach, Pins(loaded_root), program, "cgroup")
        found = []
        for name, addresses in (("node", (NODE, BALANCER, CLUSTER_IP)), ("pod", (POD,))):
            namespace = f"cm-b{os.getpid()}-{name}"
            ip("netns", "add", namespace)
            stack.callback(ip, "netns", "del", namespace)
            ip("link", "set", "lo", "up", namespace=namespace)
            for address in addresses:
                ip("addr", "add", f"{address}/32", "dev", "lo", namespace=namespace)
                ip("addr", "add", f"{v6(address)}/128", "dev", "lo", "nodad", namespace=namespace)
            found.append(Pod(name, namespace, cgroup, addresses[0]))
            stack.callback(found[-1].close)
        stack.callback(loader.load, loaded_root, OPTIONS)
        yield found[0], found[1]


@pytest.fixture
def scene(loaded_root: Path, node: Datapath, processes: tuple[Pod, Pod]) -> Scene:
    made = Scene(loaded_root, node, *processes)
    made.know(within(made.node.namespace, host_netns.cookie))
    node.ipcache.update(
        [(ipcache_map.pack_key(each), ipcache_map.pack_value(1, None)) for each in (NODE, v6(NODE))]
    )
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("address", EVERYWHERE)
def test_a_process_of_the_node_cannot_bind_a_node_port_and_a_pod_can(
    scene: Scene, address: str, kind: str
) -> None:
    scene.serve()
    with pytest.raises(PodError) as refused:
        scene.node.do("bind", ip=address, port=NODE_PORT, kind=kind)
    assert refused.value.errno == errno.EPERM
    mine = address.replace(NODE, POD).replace(v6(NODE), v6(POD))
    assert scene.pod.do("bind", ip=mine, port=NODE_PORT, kind=kind) == NODE_PORT


def test_what_was_refused_is_counted_and_nothing_else(scene: Scene) -> None:
    def counted() -> int:
        known = metrics_map.read(scene.loaded.metrics.dump())
        return sum(each.packets for each in known if each.number == metrics_map.BIND_REFUSED)

    scene.serve()
    before = counted()
    for address in EVERYWHERE:
        with pytest.raises(PodError, match="PermissionError"):
            scene.node.do("bind", ip=address, port=NODE_PORT)
        scene.node.do("bind", ip=address, port=NODE_PORT + 1)
    assert counted() - before == len(EVERYWHERE)


@pytest.mark.parametrize("address", EVERYWHERE)
def test_a_node_port_that_keeps_clients_on_their_node_is_no_other(scene: Scene, address: str) -> None:
    scene.serve(NODE_PORT_FLAGS | FLAG_EXTERNAL_LOCAL)
    with pytest.raises(PodError, match="PermissionError"):
        scene.node.do("bind", ip=address, port=NODE_PORT)


def test_a_socket_that_listens_to_both_families_is_refused_for_a_service_of_ipv4(scene: Scene) -> None:
    scene.serve(NODE_PORT_FLAGS, ANY_NODE, NODE)
    with pytest.raises(PodError, match="PermissionError"):
        scene.node.do("bind", ip="::", port=NODE_PORT)
    assert scene.node.do("bind", ip=v6(NODE), port=NODE_PORT) == NODE_PORT


@pytest.mark.parametrize("kind", KINDS)
def test_what_no_service_has_may_be_bound(scene: Scene, kind: str) -> None:
    scene.serve()
    for address in EVERYWHERE:
        assert scene.node.do("bind", ip=address, port=NODE_PORT + 1, kind=kind) == NODE_PORT + 1
        assert scene.node.do("bind", ip=address, port=0, kind=kind) != NODE_PORT
    for loopback in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert scene.node.do("bind", ip=loopback, port=NODE_PORT, kind=kind) == NODE_PORT
    scene.serve(0, ANY_NODE, port=NODE_PORT + 2)  # a service for the cluster's own clients alone
    assert scene.node.do("bind", ip=NODE, port=NODE_PORT + 2, kind=kind) == NODE_PORT + 2


def test_a_number_of_one_protocol_is_free_in_the_other(scene: Scene) -> None:
    scene.serve(protocols="TCP")
    assert scene.node.do("bind", ip=ANY_NODE, port=NODE_PORT, kind="SOCK_DGRAM") == NODE_PORT


@pytest.mark.parametrize("kind", [FLAG_LOAD_BALANCER, FLAG_EXTERNAL_IP])
def test_an_address_for_clients_outside_is_taken_at_the_service_s_port_only(scene: Scene, kind: int) -> None:
    scene.serve(kind, BALANCER, port=80)
    with pytest.raises(PodError, match="PermissionError"):
        scene.node.do("bind", ip=BALANCER, port=80)
    assert scene.node.do("bind", ip=BALANCER, port=81) == 81
    assert scene.node.do("bind", ip=ANY_NODE, port=80) == 80
    scene.serve(0, CLUSTER_IP, port=80)
    assert scene.node.do("bind", ip=CLUSTER_IP, port=80) == 80


@pytest.mark.parametrize("address", EVERYWHERE)
def test_a_process_that_may_be_the_backend_itself_is_let_in(scene: Scene, address: str) -> None:
    scene.serve(NODE_PORT_FLAGS | FLAG_DELEGATE_IF_LOCAL)
    assert scene.node.do("bind", ip=address, port=NODE_PORT) == NODE_PORT


def test_a_number_is_free_again_once_its_service_has_gone_and_without_backends_it_is_not(
    scene: Scene,
) -> None:
    empty = {Frontend(ANY_NODE, NODE_PORT, "TCP"): list[Backend]()}
    scene.loaded.services.sync(empty, masters=dict.fromkeys(empty, Master(flags=NODE_PORT_FLAGS)))
    with pytest.raises(PodError, match="PermissionError"):
        scene.node.do("bind", ip=ANY_NODE, port=NODE_PORT)
    scene.loaded.services.sync({})
    assert scene.node.do("bind", ip=ANY_NODE, port=NODE_PORT) == NODE_PORT


def test_a_refused_socket_can_bind_another_number(scene: Scene) -> None:
    scene.serve()
    assert scene.node.do("bind", ip=ANY_NODE, port=NODE_PORT, then=NODE_PORT + 1) == NODE_PORT + 1


def test_nobody_is_refused_while_the_node_s_namespace_is_not_known(scene: Scene) -> None:
    scene.serve()
    scene.know(0)
    assert scene.node.do("bind", ip=ANY_NODE, port=NODE_PORT) == NODE_PORT
