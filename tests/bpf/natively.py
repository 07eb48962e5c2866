"""Native routing between the two nodes of `tests.bpf.world`: no tunnel, but two routers and a narrow way.

    east  198.18.21.1 -- .2 router "one" 198.18.22.1 -- 1300 bytes -- .2 router "two" 198.18.23.1 -- .2  west

Both families go the same way.
"""

from pathlib import Path

from bpf import ipcache_map
from bpf.ipcache_map import FLAG_SKIP_TUNNEL
from tests.bpf.world import Node, World, ip, v6, within

CLIENT, NEAR, FAR = 65_601, 65_602, 131_073
PODS_EAST, PODS_WEST = "10.1.1.0/24", "10.2.1.0/24"
NARROW = 1300
WIDE = 1500


def route_natively(made: World) -> None:
    """Each node leads to the other's pods, and knows whose their addresses are."""
    for node in (made.east, made.west):
        ip("link", "del", "cilium_vxlan", namespace=node.namespace)
    _lay_way(made)
    for pod, identity in ((made.client, CLIENT), (made.near, NEAR)):
        for address in (pod.address, pod.address6):
            know(made.west, address, identity, made.east)
    for address in (made.far.address, made.far.address6):
        know(made.east, address, FAR, made.west)


def know(node: Node, address: str, identity: int, behind: Node) -> None:
    value = ipcache_map.pack_value(identity, behind.address, flags=FLAG_SKIP_TUNNEL)
    node.datapath.ipcache.update([(ipcache_map.pack_key(address), value)])


def _lay_way(made: World) -> None:
    one, two = made.namespace("one"), made.namespace("two")
    east, west = made.east.namespace, made.west.namespace
    _link((east, "eth1"), (one, "eth0"), 21, WIDE)
    _link((one, "eth1"), (two, "eth0"), 22, NARROW)
    _link((two, "eth1"), (west, "eth1"), 23, WIDE)
    to_east, to_west = (PODS_EAST, f"{made.east.address}/32"), (PODS_WEST,)
    for namespace, networks, gateway, source in (
        (east, to_west, "198.18.21.2", made.east.address),
        (one, to_west, "198.18.22.2", ""),
        (two, to_west, "198.18.23.2", ""),
        (west, to_east, "198.18.23.1", made.west.address),
        (two, to_east, "198.18.22.1", ""),
        (one, to_east, "198.18.21.1", ""),
    ):
        within(namespace, _forward)
        for network in networks:
            _lead(namespace, network, gateway, source)


def _link(left: tuple[str, str], right: tuple[str, str], number: int, mtu: int) -> None:
    veth = ("type", "veth", "peer", "name", right[1], "mtu", str(mtu), "netns", right[0])
    ip("link", "add", left[1], "mtu", str(mtu), *veth, namespace=left[0])
    for (namespace, device), last in ((left, 1), (right, 2)):
        address = f"198.18.{number}.{last}"
        ip("addr", "add", f"{address}/24", "dev", device, namespace=namespace)
        ip("addr", "add", f"{v6(address)}/64", "dev", device, "nodad", namespace=namespace)
        ip("link", "set", device, "up", namespace=namespace)


def _lead(namespace: str, network: str, gateway: str, source: str) -> None:
    """`network` is a /24 or a /32."""
    address, _, length = network.partition("/")
    twin = f"{v6(address)}/{128 if length == '32' else 64}"
    for family, to, via, origin in (
        ("-4", network, gateway, source),
        ("-6", twin, v6(gateway), source and v6(source)),
    ):
        ip(family, "route", "add", to, "via", via, *(("src", origin) if origin else ()), namespace=namespace)


def _forward() -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
