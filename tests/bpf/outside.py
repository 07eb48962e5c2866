"""Node ports of the two nodes of `tests.bpf.world`, and clients outside of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bpf import ipcache_map, loader, nat_map
from bpf.lb_map import FLAG_NODE_PORT, FLAG_ROUTABLE
from bpf.lb_wanted import Master
from bpf.maglev_tables import Maglev
from mesh.localservice import Frontend
from mesh.matching import Backend
from tests.bpf.world import Node, Pod, World, ip, v6

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
    """`client` reaches east by networks of its own, `other` west. `family`: in which everybody speaks."""

    mesh: World
    client: Pod
    other: Pod
    family: int = 4

    @property
    def node(self) -> str:
        return self.at(self.mesh.east.address)

    def at(self, ip: str) -> str:
        """An address, or the one that stands beside it."""
        return ip if self.family == 4 else v6(ip)

    def within(self, cidr: str) -> str:
        """A network of IPv4, or the one that has the addresses beside its own."""
        net, bits = cidr.split("/")
        if self.family == 4 or bits == "0":
            return cidr if self.family == 4 else "::/0"
        return f"{v6(net)}/{int(bits) + 96 if bits == '32' else 64}"

    def ask(self, command: str, client: Pod | None = None, *, port: int = NODE_PORT, **more: object) -> Any:
        """At east's own address."""
        return (client or self.client).do(command, ip=self.node, port=port, **more)

    def east(self, *pods: Pod, flags: int = NODE_PORT_FLAGS, sticky: int = 0) -> None:
        self.serve(self.mesh.east, list(pods), flags, sticky)

    def serve(
        self, node: Node, pods: list[Pod], flags: int = NODE_PORT_FLAGS, sticky: int = 0, port: int = PORT
    ) -> None:
        services = {
            Frontend(self.at(node.address), NODE_PORT, protocol): [
                Backend(self.at(pod.address), port, protocol, 1) for pod in pods
            ]
            for protocol in ("TCP", "UDP")
        }
        node.datapath.services.sync(services, masters=dict.fromkeys(services, Master(sticky, flags)))

    @property
    def maglev(self) -> Maglev:
        services = self.mesh.east.datapath.services
        return services.maglev if self.family == 4 else services.maglev6

    def mappings(self) -> list[nat_map.Mapping]:
        """East's, of both families: nobody else is to have any."""
        opened = self.mesh.east.datapath
        tables = (opened.translations, opened.translations6)
        return [nat_map.unpack(key, value) for table in tables for key, value in table.dump().items()]


def attach(node: Node, *devices: str) -> None:
    node.within(lambda: node.datapath.attach_underlay(*(node.ifindex(device) for device in devices)))


def reached(mesh: World, client: Pod, other: Pod, family: int = 4) -> Outside:
    """East has an address among the pods, and west knows it."""
    inside = {"gateway": GATEWAY, "gateway6": v6(GATEWAY)}
    device = mesh.east.ifindex("eth0")
    devices = {"underlay_ifindex": device, "underlay6_ifindex": device}
    loader.load(mesh.east.root, replace(mesh.east.options, **devices, **inside))
    entry = ipcache_map.pack_value(6, mesh.east.address)
    mesh.west.datapath.ipcache.update((ipcache_map.pack_key(ip), entry) for ip in inside.values())
    return Outside(mesh, client, other, family)


def forward(node: Node) -> None:
    def switch() -> None:
        for what in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            Path("/proc/sys/net", what).write_text("1")

    node.within(switch)


def ip_forward(node: Node) -> None:
    """Pods' answers to a node pass the stack of theirs, as any router."""
    forward(node)
    east = node.namespace.replace("west", "east")
    ip("route", "replace", "10.2.1.10/32", "via", node.address, namespace=east)
    ip("-6", "route", "replace", f"{v6('10.2.1.10')}/128", "via", node.address6, namespace=east)


@contextmanager
def hashed(mesh: World) -> Iterator[None]:
    """Both nodes have Maglev tables, and a client of east's reaches west through east."""
    forward(mesh.east)
    west = mesh.west.namespace
    ip("route", "replace", "198.18.11.0/24", "via", mesh.east.address, namespace=west)
    ip("-6", "route", "replace", "fd00:198:18:11::/64", "via", mesh.east.address6, namespace=west)
    for node in (mesh.east, mesh.west):
        node.datapath.services.use_maglev(251)
    yield
    for node in (mesh.east, mesh.west):
        node.datapath.services.use_maglev(0)
