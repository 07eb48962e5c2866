"""A pod's network: what a CNI plugin does, and its undoing.

The pod gets a namespace with `eth0` (a /32 address and a /128, everything through a gateway that is reached
directly) and the node the other end. IPv4 neighbours are fixed on both sides, so no ARP is needed between a
pod and its node; for IPv6 the programs answer the pod. The agent programs the rest. What the agent handed out
is recorded on disk before it is used, so that it finds its way back after any crash: `reclaim` returns
whatever no live pod holds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from lab import netlink, netns, plan, private_file
from lab.errors import NetworkNotReadyError
from lab.node.agent_client import Addressing, AgentClient, Allocation, Endpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PodInterface:
    """What shall be made, computed from names alone."""

    pod: str
    pod_namespace: str  # Kubernetes'
    uid: str
    namespace: str  # the pod's network namespace
    node_namespace: str  # the node's network namespace

    @property
    def name(self) -> str:
        """The node's end of the cable."""
        return plan.pod_interface(self.uid)


class Held(Struct, frozen=True):
    """An address of the agent's that is out, and for whom."""

    container_id: str
    ip: str


class PodNetwork:
    """Makes and removes the networks of one node's pods."""

    def __init__(self, agent: AgentClient, addresses: Path) -> None:
        self._agent = agent
        self._addresses = addresses
        self._giving_back = asyncio.Lock()

    async def add(self, wanted: PodInterface) -> tuple[str, ...]:
        """Give the pod its network; its addresses, IPv4 first. Raises NetworkNotReadyError; then nothing is
        left."""
        allocation = await self._agent.allocate(f"{wanted.pod_namespace}/{wanted.pod}")
        for ip in allocation.ips:
            self._remember(Held(wanted.uid, ip))
        try:
            endpoint = await asyncio.to_thread(_connect, wanted, allocation)
            await self._agent.add_endpoint(endpoint)
        except BaseException:
            await asyncio.shield(self.remove(wanted))
            raise
        return allocation.ips

    async def remove(self, wanted: PodInterface) -> None:
        """Undo `add`, from whatever point it reached. What the agent cannot take back now, it gets later."""
        await asyncio.to_thread(_disconnect, wanted)
        for held in self._held():
            if held.container_id == wanted.uid:
                await self._give_back(held)

    async def reclaim(self, live: Collection[str]) -> None:
        """Return the addresses of pods that are not in `live` (uids)."""
        for held in self._held():
            if held.container_id not in live:
                await self._give_back(held)

    async def _give_back(self, held: Held) -> None:
        # One at a time, and looked at again: an address given back by somebody else in between may
        # belong to a new pod already.
        async with self._giving_back:
            if self._read(self._file(held)) != held:
                return
            try:
                await self._agent.remove_endpoint(held.container_id)
                await self._agent.release(held.ip)
            except NetworkNotReadyError as error:
                log.debug("address %s stays out: %s", held.ip, error)
                return
            self._file(held).unlink(missing_ok=True)

    def _remember(self, held: Held) -> None:
        private_file.write(self._file(held), msgspec.json.encode(held))

    def _held(self) -> list[Held]:
        return [held for file in self._addresses.glob("*.json") if (held := self._read(file)) is not None]

    def _read(self, file: Path) -> Held | None:
        try:
            return msgspec.json.decode(file.read_bytes(), type=Held)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None

    def _file(self, held: Held) -> Path:
        return self._addresses / f"{held.ip}.json"


def _connect(wanted: PodInterface, allocation: Allocation) -> Endpoint:
    netns.create(wanted.namespace)
    index, host_mac = netns.run(wanted.node_namespace, lambda: _cable(wanted, allocation.mtu))
    mac = netns.run(wanted.namespace, lambda: _configure_pod(allocation, host_mac))
    netns.run(wanted.node_namespace, lambda: _configure_node(wanted, allocation, mac))
    return Endpoint(
        container_id=wanted.uid,
        interface_name=wanted.name,
        interface_index=index,
        mac=mac,
        host_mac=host_mac,
        addressing=Addressing(allocation.ip, allocation.ip6),
        k8s_pod_name=wanted.pod,
        k8s_namespace=wanted.pod_namespace,
        netns_cookie=str(netns.cookie(wanted.namespace)),
    )


def _cable(wanted: PodInterface, mtu: int) -> tuple[int, str]:
    with netlink.opened() as link:
        link.delete(wanted.name)
        link.veth(wanted.name, "eth0", wanted.namespace, mtu=mtu)
        link.up(wanted.name)
        return link.index(wanted.name) or 0, link.mac(wanted.name)


def _configure_pod(allocation: Allocation, host_mac: str) -> str:
    if allocation.ip6:
        netlink.allow_ipv6()
    with netlink.opened() as link:
        link.up("lo")
        link.address("eth0", allocation.ip, 32)
        link.up("eth0")
        link.link_route(f"{allocation.gateway}/32", "eth0")
        link.default_route(allocation.gateway, "eth0", mtu=allocation.mtu)
        link.neighbour(allocation.gateway, host_mac, "eth0")
        if allocation.ip6:
            link.address("eth0", allocation.ip6, 128)
            link.default_route(allocation.gateway6, "eth0", mtu=allocation.mtu)
        return link.mac("eth0")


def _configure_node(wanted: PodInterface, allocation: Allocation, mac: str) -> None:
    with netlink.opened() as link:
        for ip in allocation.ips:
            link.link_route(f"{ip}/{128 if ':' in ip else 32}", wanted.name)
            link.neighbour(ip, mac, wanted.name)


def _disconnect(wanted: PodInterface) -> None:
    if netns.path(wanted.node_namespace).exists():
        netns.run(wanted.node_namespace, lambda: _unplug(wanted))
    netns.remove(wanted.namespace)


def _unplug(wanted: PodInterface) -> None:
    # at once and by name: a namespace's own end only comes when its last process is gone
    with netlink.opened() as link:
        link.delete(wanted.name)
