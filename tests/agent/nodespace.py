"""A network namespace that stands for a node, and one for each pod. Gone when the block ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.bpf.world import ip

NODE_IP = "198.18.1.11"


@contextmanager
def namespace(name: str) -> Iterator[str]:
    full = f"cm-ag{os.getpid()}-{name}"
    ip("netns", "add", full)
    try:
        ip("link", "set", "lo", "up", namespace=full)
        yield full
    finally:
        ip("netns", "del", full)


@contextmanager
def node_namespace() -> Iterator[str]:
    """With the node's address on a cable whose other end is in the same namespace: a link that is up."""
    with namespace("node") as full:
        ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth1", namespace=full)
        ip("addr", "add", f"{NODE_IP}/15", "dev", "eth0", namespace=full)
        for link in ("eth0", "eth1"):
            ip("link", "set", link, "up", namespace=full)
        yield full


class PodCable:
    """What a CNI plugin makes: `lxc<n>` on the node, eth0 in the pod's own namespace."""

    def __init__(self, node: str, pod: str, index: int) -> None:
        self.node, self.pod, self.interface = node, pod, f"lxc{index}"
        ip(
            "link",
            "add",
            self.interface,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            pod,
            namespace=node,
        )
        ip("link", "set", self.interface, "up", namespace=node)

    def configure(self, address: str, gateway: str) -> None:
        ip("addr", "add", f"{address}/32", "dev", "eth0", namespace=self.pod)
        ip("link", "set", "eth0", "up", namespace=self.pod)
        ip("route", "add", gateway, "dev", "eth0", "scope", "link", namespace=self.pod)
        ip("route", "add", "default", "via", gateway, "dev", "eth0", namespace=self.pod)


@contextmanager
def pods(node: str, count: int) -> Iterator[list[PodCable]]:
    with ExitStack() as stack:
        names = [stack.enter_context(namespace(f"pod{index}")) for index in range(1, count + 1)]
        yield [PodCable(node, name, index) for index, name in enumerate(names, 1)]
