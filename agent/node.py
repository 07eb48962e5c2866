"""This node: its devices, and its record in Kubernetes.

The node's pod CIDRs are given by Kubernetes (`Node.spec.podCIDRs`), one of IPv4 and perhaps one of IPv6;
the first address of each is the node's own among the pods. The CiliumNode is what the mesh knows of this
node.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec

from agent import netlink
from agent.errors import ConfigError
from agent.ipam import Addresses, AddressPool, Pools
from agent.local import LocalNode
from aiokit.backoff import Backoff
from k8s.client import Client
from k8s.core import Node
from k8s.errors import AccessError, KubernetesError
from k8s.objects import decode
from k8s.resource import CILIUMNODE, NODE
from mesh.routingmode import ANNOTATION, RoutingMode

log = logging.getLogger(__name__)

VXLAN = "cilium_vxlan"
HOST, NET = "cilium_host", "cilium_net"
MTU = 1500  # of the underlay, where it does not say
TUNNEL_HEADER = 50  # bytes that a pod's packet must leave
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
RETRY_FIRST, RETRY_CAP = 0.2, 10.0
NO_HEALTH = Addresses()
REPUBLISH_SECONDS = 60.0  # somebody may have deleted or changed our record


@dataclass(frozen=True, slots=True)
class Underlay:
    """Indices of the devices that have the node's own address, by family."""

    ipv4: tuple[int, ...] = ()
    ipv6: tuple[int, ...] = ()

    @property
    def all(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys((*self.ipv4, *self.ipv6)))


@dataclass(frozen=True, slots=True)
class Devices:
    """`vxlan` is its ifindex, 0 with native routing; `mtu` is that of pods."""

    vxlan: int
    host: netlink.Link
    mtu: int
    underlay: Underlay = Underlay()


async def wait_node(client: Client, name: str) -> Node:
    """This node's object, once it exists and has a pod CIDR. Waits for ever: without it there is no node."""
    backoff = Backoff(RETRY_FIRST, RETRY_CAP)
    while True:
        try:
            raw = await client.get(NODE, name)
            node = decode(raw, Node) if raw is not None else None
        except AccessError:
            raise
        except (KubernetesError, msgspec.MsgspecError) as error:
            log.warning("node %s cannot be read: %s", name, error)
        else:
            if node is not None and node.spec.podCIDR:
                return node
            log.info("node %s %s", name, "has no pod CIDR yet" if node else "is not registered yet")
        await asyncio.sleep(backoff.next())


def internal_ip(node: Node) -> str:
    """The IPv4 address that other nodes reach this one by."""
    for address in node.status.addresses:
        if address.type == "InternalIP" and ":" not in address.address:
            return address.address
    raise ConfigError(f"node {node.metadata.name} has no IPv4 InternalIP: give --node-ip")


def internal_ip6(node: Node) -> str:
    """The IPv6 address that other nodes reach this one by, in its short form; "" where it tells none."""
    told = (address.address for address in node.status.addresses if address.type == "InternalIP")
    return next((str(ip_address(each)) for each in told if ":" in each), "")


async def _having(ip: str) -> tuple[int, ...]:
    found = tuple(await asyncio.to_thread(netlink.having, ip))
    if not found:
        log.warning("no device has the address %s: node ports are not served to clients outside there", ip)
    return found


async def ensure_devices(local: LocalNode, own: Pools, health: Addresses = NO_HEALTH) -> Devices:
    """`health`: the node's health addresses."""
    underlay = Underlay(*[await _having(ip) if ip else () for ip in (local.ip, local.outside_ip6)])
    inside = [*(pool.gateway for pool in own.all), *filter(None, (health.ipv4, health.ipv6))]
    host = await asyncio.to_thread(netlink.ensure_gateway, HOST, NET, *inside)
    if local.routing_mode is RoutingMode.NATIVE:
        # of another mode, if any: whoever still sends through the tunnel must not be believed
        await asyncio.to_thread(netlink.remove, VXLAN)
        await asyncio.to_thread(netlink.ensure_unreachable, *(pool.cidr for pool in own.all))
        return Devices(0, host, await asyncio.to_thread(netlink.mtu_of, local.ip) or MTU, underlay)
    vxlan = await asyncio.to_thread(netlink.ensure_vxlan, VXLAN, mtu=MTU - TUNNEL_HEADER)
    return Devices(vxlan.index, host, MTU - TUNNEL_HEADER, underlay)


def pools(node: Node, *, ipv6: bool) -> Pools:
    """The pools of the node's pod CIDRs, the first of each family. `ipv6`: whether there may be one of IPv6.

    Raises ConfigError without one of IPv4: the tunnel's packets and our own are of that family.
    """
    cidrs = node.spec.podCIDRs or (node.spec.podCIDR,)
    first = {6 if ":" in cidr else 4: cidr for cidr in reversed(cidrs)}
    if 4 not in first:
        raise ConfigError(f"node {node.metadata.name} has no IPv4 pod CIDR: {', '.join(cidrs)}")
    return Pools(AddressPool(first[4]), AddressPool(first[6]) if ipv6 and 6 in first else None)


def cilium_node(
    node: LocalNode, kubernetes: Node, own: Pools, boot_id: str, health: Addresses = NO_HEALTH
) -> dict[str, Any]:
    """The record of this node that our cluster and, through it, the mesh reads."""
    owner = {
        "apiVersion": "v1",
        "kind": "Node",
        "name": kubernetes.metadata.name,
        "uid": kubernetes.metadata.uid,
    }
    metadata: dict[str, Any] = {
        "name": node.name,
        "labels": dict(kubernetes.metadata.labels),
        "annotations": {ANNOTATION: node.routing_mode.value},
    }
    if kubernetes.metadata.uid:
        metadata["ownerReferences"] = [owner]
    return {
        "metadata": metadata,
        "spec": {
            "addresses": [
                *({"type": "InternalIP", "ip": ip} for ip in (node.ip, node.ip6) if ip),
                *({"type": "CiliumInternalIP", "ip": pool.gateway} for pool in own.all),
            ],
            "ipam": {"podCIDRs": [pool.cidr for pool in own.all]},
            "encryption": {"key": 0},
            # what is not said would stay as an earlier life said it
            "health": {"ipv4": health.ipv4 or None, "ipv6": health.ipv6 or None},
            "bootid": boot_id,
        },
    }


async def publish(client: Client, body: dict[str, Any]) -> None:
    """Keep the record as it should be, until cancelled."""
    backoff = Backoff(RETRY_FIRST, RETRY_CAP)
    while True:
        try:
            done = await client.apply(CILIUMNODE, body)
        except KubernetesError as error:
            log.warning("the node's record cannot be written: %s", error)
            await asyncio.sleep(backoff.next())
        else:
            backoff.reset()
            if done != "unchanged":
                log.info("the node's record was %s", done)
            await asyncio.sleep(REPUBLISH_SECONDS)
