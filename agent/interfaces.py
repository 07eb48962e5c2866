"""What is done to a pod's interface in the node's network namespace. Blocking: called in a thread."""

from __future__ import annotations

from agent import netlink
from agent.ipam import Pools
from bpf.datapath import Datapath as LoadedDatapath


class PodInterfaces:
    """Satisfies `agent.lifecycle.Interfaces`. The node's own addresses are the sources of what it sends."""

    def __init__(self, loaded: LoadedDatapath, pools: Pools) -> None:
        self._loaded = loaded
        self._pools = pools

    def links(self) -> dict[str, int]:
        return netlink.links()

    def attach(self, ifindex: int) -> None:
        self._loaded.attach_pod(ifindex)

    def detach(self, ifindex: int) -> None:
        self._loaded.detach_pod(ifindex)

    def detach_stale(self) -> None:
        self._loaded.detach_stale()

    def add_route(self, address: str, ifindex: int, mac: str) -> None:
        netlink.ensure_pod_route(address, ifindex, mac, self._pools.of(address).gateway)

    def forget_connections(self, address: str) -> None:
        self._loaded.forget_connections(address)

    def remove_route(self, address: str, ifindex: int) -> None:
        netlink.remove_pod_route(address, ifindex)
