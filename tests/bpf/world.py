"""Two nodes of two clusters, three pods, in network namespaces: where packets are real.

    node east: pods client (10.1.1.10) and near (10.1.1.11)    198.18.1.11
    node west: pod far (10.2.1.10)                             198.18.1.12

Each address has an IPv6 one beside it: fd00:10:1:1::10 and so on, fd00:198:18:1::11 of a node.
Each node has its own pins, vxlan device and cgroup. Everything goes when the block ends.
"""

import ctypes
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bpf import datapath, endpoint_map, ipcache_map, loader, metrics_map
from bpf.datapath import Datapath
from bpf.endpoint_map import Endpoint
from bpf.requirements import mounts

T = TypeVar("T")

ANSWER_SECONDS = 20.0
GATEWAY, GATEWAY6 = "169.254.1.1", "fe80::1"
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def ip(*arguments: str, namespace: str = "") -> str:
    inside = ["nsenter", f"--net=/run/netns/{namespace}"] if namespace else []
    done = subprocess.run([*inside, "ip", *arguments], check=True, capture_output=True, text=True, timeout=20)
    return done.stdout


def within(namespace: str, work: Callable[[], T]) -> T:
    """Run `work` in a namespace: in a thread of its own, as setns is per thread."""
    results: list[T] = []
    failures: list[BaseException] = []

    def body() -> None:
        try:
            with Path("/run/netns", namespace).open() as handle:
                if _libc.setns(handle.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
            results.append(work())
        except BaseException as error:  # noqa: BLE001 (handed to the caller)
            failures.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


class PodError(Exception):
    """What a command in a pod failed with."""

    def __init__(self, name: str, errno: int | None) -> None:
        super().__init__(name, errno)
        self.name = name
        self.errno = errno


class Pod:
    """A child process in a pod's namespace and in its node's cgroup."""

    def __init__(self, name: str, namespace: str, cgroup: Path, address: str) -> None:
        self.name = name
        self.namespace = namespace
        self.address = address
        self.address6 = v6(address)
        self._process = subprocess.Popen(
            [
                *("nsenter", f"--net=/run/netns/{namespace}", sys.executable, "-I"),
                *(str(Path(__file__).with_name("pod.py")), name, str(cgroup)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def do(self, command: str, **arguments: object) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        out = self._process.stdout
        assert out is not None
        ready, _, _ = select.select([out], [], [], ANSWER_SECONDS)
        assert ready, f"pod {self.name} does not answer"
        answer = json.loads(out.readline())
        if "error" in answer:
            raise PodError(answer["error"], answer["errno"])
        return answer["ok"]

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@dataclass(slots=True)
class Node:
    name: str
    namespace: str
    address: str
    root: Path
    cgroup: Path
    options: loader.NodeOptions
    datapath: Datapath

    @property
    def address6(self) -> str:
        return v6(self.address)

    def within(self, work: Callable[[], T]) -> T:
        return within(self.namespace, work)

    def ifindex(self, device: str) -> int:
        return ifindex(self.namespace, device)

    def drops(self) -> dict[str, int]:
        """Reason -> packets dropped so far."""
        counted: dict[str, int] = {}
        for metric in metrics_map.read(self.datapath.metrics.dump()):
            if metric.is_drop:
                counted[metric.reason] = counted.get(metric.reason, 0) + metric.packets
        return counted


def v6(address: str) -> str:
    """The IPv6 address that stands beside an IPv4 one."""
    net, last = address.rsplit(".", 1)
    return f"fd00:{net.replace('.', ':')}::{last}"


def speak_at_once() -> None:
    """No address waits until it is known to be nobody else's: the first packets would wait with it."""
    Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")


def ifindex(namespace: str, device: str) -> int:
    (shown,) = json.loads(ip("-j", "link", "show", device, namespace=namespace))
    return int(shown["ifindex"])


def mac(namespace: str, device: str) -> str:
    (shown,) = json.loads(ip("-j", "link", "show", device, namespace=namespace))
    return str(shown["address"])


class World:
    """Use `world()`. Builds everything, and registers its removal as it goes."""

    def __init__(self, bpffs: Path, stack: ExitStack) -> None:
        self._stack = stack
        self._bpffs = bpffs
        self._tag = f"cm-t{os.getpid()}"
        self._cgroup = self._make_cgroup(
            next(mount.path for mount in mounts() if mount.type == "cgroup2")
            / f"clustermesh-test-{os.getpid()}"
        )
        self._connect()
        self.east = self._node("east", "198.18.1.11")
        self.west = self._node("west", "198.18.1.12")
        self.client = self._pod(self.east, "client", "10.1.1.10", 65_601, 1)
        self.near = self._pod(self.east, "near", "10.1.1.11", 65_602, 2)
        self.far = self._pod(self.west, "far", "10.2.1.10", 131_073, 1)
        for pod in (self.near, self.far):
            pod.do("serve", port=8080)
        self._tell_nodes()

    def namespace(self, name: str) -> str:
        full = f"{self._tag}-{name}"
        ip("netns", "add", full)
        self._stack.callback(ip, "netns", "del", full)
        ip("link", "set", "lo", "up", namespace=full)
        within(full, speak_at_once)
        return full

    def _make_cgroup(self, path: Path) -> Path:
        path.mkdir()
        self._stack.callback(path.rmdir)
        return path

    def _connect(self) -> None:
        east, west = self.namespace("east"), self.namespace("west")
        ip("link", "add", "eth0", "netns", east, "type", "veth", "peer", "name", "eth0", "netns", west)
        for namespace, address in ((east, "198.18.1.11/24"), (west, "198.18.1.12/24")):
            ip("addr", "add", address, "dev", "eth0", namespace=namespace)
            ip("link", "set", "eth0", "up", namespace=namespace)
            inside = v6(address.partition("/")[0])
            ip("addr", "add", f"{inside}/64", "dev", "eth0", "nodad", namespace=namespace)
            tunnel = ("type", "vxlan", "external", "dstport", "8472")
            ip("link", "add", "cilium_vxlan", *tunnel, namespace=namespace)
            ip("link", "set", "cilium_vxlan", "up", namespace=namespace)

    def _node(self, name: str, address: str) -> Node:
        namespace, root = f"{self._tag}-{name}", self._bpffs / "world" / name
        overlay = ifindex(namespace, "cilium_vxlan")
        options = loader.NodeOptions(address, overlay, node_ip6=v6(address))
        loader.load(root, options)
        self._stack.callback(loader.unload, root)
        cgroup = self._make_cgroup(self._cgroup / name)
        opened = self._stack.enter_context(datapath.open(root))
        node = Node(name, namespace, address, root, cgroup, options, opened)
        node.within(lambda: opened.attach_overlay(overlay))
        opened.attach_cgroup(cgroup)
        return node

    def _pod(self, node: Node, name: str, address: str, identity: int, number: int) -> Pod:
        namespace, host_side = self.namespace(name), f"lxc{name}"
        veth = ("type", "veth", "peer", "name", "eth0", "mtu", "1450", "netns", namespace)
        ip("link", "add", host_side, "mtu", "1450", *veth, namespace=node.namespace)
        ip("link", "set", host_side, "up", namespace=node.namespace)
        ip("addr", "add", f"{address}/32", "dev", "eth0", namespace=namespace)
        ip("link", "set", "eth0", "up", namespace=namespace)
        ip("route", "add", GATEWAY, "dev", "eth0", "scope", "link", namespace=namespace)
        ip("route", "add", "default", "via", GATEWAY, namespace=namespace)
        ip("addr", "add", f"{v6(address)}/128", "dev", "eth0", "nodad", namespace=namespace)
        ip("-6", "route", "add", "default", "via", GATEWAY6, "dev", "eth0", namespace=namespace)
        # the node's own way to its pods is an ordinary route
        ip("route", "add", f"{address}/32", "dev", host_side, "src", node.address, namespace=node.namespace)
        here = ("dev", host_side, "src", v6(node.address))
        ip("-6", "route", "add", f"{v6(address)}/128", *here, namespace=node.namespace)
        index = node.ifindex(host_side)
        endpoint = Endpoint(index, number, identity, mac(namespace, "eth0"), mac(node.namespace, host_side))
        value = endpoint_map.pack_value(endpoint)
        node.datapath.endpoints.update(
            (endpoint_map.pack_key(each), value) for each in (address, v6(address))
        )
        node.within(lambda: node.datapath.attach_pod(index))
        pod = Pod(name, namespace, node.cgroup, address)
        self._stack.callback(pod.close)
        return pod

    def outside(self, node: Node, name: str, number: int) -> Pod:
        """A client that is no pod, on networks of its own, 198.18.1<number>.0/24 and one of IPv6, with `node`
        as its router: the node's end is eth<number>."""
        namespace, device, network = self.namespace(name), f"eth{number}", f"198.18.1{number}"
        veth = ("type", "veth", "peer", "name", "eth0", "netns", namespace)
        ip("link", "add", device, *veth, namespace=node.namespace)
        ends = ((node.namespace, device, 1), (namespace, "eth0", 9), (namespace, "eth0", 10))
        for place, end, address in ends:
            ip("addr", "add", f"{network}.{address}/24", "dev", end, namespace=place)
            here = f"{v6(f'{network}.{address}')}/64"
            unasked = ("preferred_lft", "0") if address == 10 else ()  # else the later one would be the first
            ip("addr", "add", here, "dev", end, "nodad", *unasked, namespace=place)
            ip("link", "set", end, "up", namespace=place)
        for router in (f"{network}.1", v6(f"{network}.1")):
            ip("route", "add", "default", "via", router, namespace=namespace)
        client = Pod(name, namespace, self._cgroup, f"{network}.9")
        self._stack.callback(client.close)
        return client

    def _tell_nodes(self) -> None:
        for node, other in ((self.east, self.west), (self.west, self.east)):
            entries = [
                (ipcache_map.pack_key(each), ipcache_map.pack_value(identity, None))
                for address, identity in ((node.address, 1), (other.address, 6))
                for each in (address, v6(address))
            ]
            for pod, identity in ((self.client, 65_601), (self.near, 65_602), (self.far, 131_073)):
                local = (pod is self.far) == (node is self.west)
                value = ipcache_map.pack_value(identity, None if local else other.address)
                entries += [(ipcache_map.pack_key(each), value) for each in (pod.address, pod.address6)]
            node.datapath.ipcache.update(entries)

    def enforce(self, node: Node, pod: Pod, *, ingress: bool = False, egress: bool = False) -> None:
        keys = [endpoint_map.pack_key(each) for each in (pod.address, pod.address6)]
        raw = node.datapath.endpoints.lookup(keys[0])
        assert raw is not None
        old = endpoint_map.unpack_value(raw)
        new = Endpoint(old.ifindex, old.endpoint_id, old.identity, old.mac, old.node_mac, ingress, egress)
        node.datapath.endpoints.update((key, endpoint_map.pack_value(new)) for key in keys)

    def settle(self) -> None:
        """As after building: no policy, no services, no memory of connections."""
        for node, pods in ((self.east, (self.client, self.near)), (self.west, (self.far,))):
            for pod in pods:
                self.enforce(node, pod)
            node.datapath.services.sync({})
            opened = node.datapath
            for table in (
                *(opened.policy, opened.connections, opened.connections6, opened.metrics),
                *(opened.services.affinity, opened.services.affinity6),
                *(opened.translations, opened.translations6),
            ):
                table.delete(table.dump())


@contextmanager
def world(bpffs: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(bpffs, stack)
