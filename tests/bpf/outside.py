"""Node ports of the two nodes of `tests.bpf.world`, and clients outside of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bpf import ipcache_map, loader, nat_map
from bpf.lb_map import FLAG_NODE_PORT, FLAG_ROUTABLE
from bpf.lb_wanted import Master
from mesh.localservice import Frontend
from mesh.matching import Backend
from tests.bpf.world import Node, Pod, World, ip

PORT, NODE_PORT = 8080, 30_080
NODE_PORT_FLAGS = FLAG_NODE_PORT | FLAG_ROUTABLE
ANY_NODE = "0.0.0.0"
GATEWAY = "10.1.1.1"  # east's address among the pods


def publish(node: Node, outside: list[Pod], inside: list[Pod], flags: int = NODE_PORT_FLAGS) -> None:
    services = {
        Frontend(ip, NODE_PORT, protocol): [Backend(pod.address, PORT, protocol, 1) for pod in pods]
        for ip, pods in ((node.address, outside), (ANY_NODE, inside))
        for protocol in ("TCP", "UDP")
    }
    node.datapath.services.sync(services, masters=dict.fromkeys(services, Master(flags=flags)))


@dataclass
class Outside:
    """`client` reaches east by a network of its own, `other` west."""

    mesh: World
    client: Pod
    other: Pod

    def east(self, *pods: Pod, flags: int = NODE_PORT_FLAGS, sticky: int = 0) -> None:
        serve_outside(self.mesh.east, list(pods), flags, sticky)


def serve_outside(node: Node, pods: list[Pod], flags: int = NODE_PORT_FLAGS, sticky: int = 0) -> None:
    services = {
        Frontend(node.address, NODE_PORT, protocol): [Backend(pod.address, PORT, protocol, 1) for pod in pods]
        for protocol in ("TCP", "UDP")
    }
    node.datapath.services.sync(services, masters=dict.fromkeys(services, Master(sticky, flags)))


def attach(node: Node, *devices: str) -> None:
    node.within(lambda: node.datapath.attach_underlay(*(node.ifindex(device) for device in devices)))


def reached(mesh: World, client: Pod, other: Pod) -> Outside:
    """East has an address among the pods, and west knows it."""
    loader.load(
        mesh.east.root,
        replace(mesh.east.options, gateway=GATEWAY, underlay_ifindex=mesh.east.ifindex("eth0")),
    )
    entry = ipcache_map.pack_value(6, mesh.east.address)
    mesh.west.datapath.ipcache.update([(ipcache_map.pack_key(GATEWAY), entry)])
    return Outside(mesh, client, other)


def mappings(node: Node) -> list[nat_map.Mapping]:
    return [nat_map.unpack(key, value) for key, value in node.datapath.translations.dump().items()]


def ip_forward(node: Node) -> None:
    """Pods' answers to a node pass the stack of theirs, as any router."""
    node.within(lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"))
    ip(
        "route",
        "replace",
        "10.2.1.10/32",
        "via",
        node.address,
        namespace=node.namespace.replace("west", "east"),
    )


@contextmanager
def hashed(mesh: World) -> Iterator[None]:
    """Both nodes have Maglev tables, and a client of east's reaches west through east."""
    mesh.east.within(lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"))
    ip("route", "replace", "198.18.11.0/24", "via", mesh.east.address, namespace=mesh.west.namespace)
    for node in (mesh.east, mesh.west):
        node.datapath.services.maglev.size = 251
    yield
    for node in (mesh.east, mesh.west):
        node.datapath.services.maglev.size = 0
