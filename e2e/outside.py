"""A client that is no pod and no node: a network namespace on the lab's fabric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address

from e2e.knocking import Target, knock_through
from lab import netlink, netns, plan
from lab.plan import LabPlan

ADDRESS = IPv4Address("198.19.255.9")  # of the fabric's network, far from all nodes'
ADDRESS6 = IPv6Address("fd00:18::ff:9")
_PORT, _BRIDGE = "outside", "fabric"


@contextmanager
def outside(lab: LabPlan) -> Iterator[str]:
    """The namespace's name; it is of the lab's, so that `lab down` would find it too."""
    name = f"{plan.namespace_prefix(lab.name)}outside"
    netns.create(name)
    try:
        netns.run(lab.fabric, lambda: _plug(name))
        netns.run(name, _configure)
        yield name
    finally:
        netns.run(lab.fabric, _unplug)
        netns.remove(name)


async def knock_from(namespace: str, targets: Sequence[Target]) -> list[Counter[str]]:
    """As `knocking.knock`, from a namespace."""
    return await knock_through(("nsenter", f"--net={netns.path(namespace)}"), targets)


def _plug(name: str) -> None:
    with netlink.opened() as link:
        link.delete(_PORT)
        link.veth(_PORT, "eth0", name, mtu=1500)
        link.enslave(_PORT, _BRIDGE)
        link.up(_PORT)


def _unplug() -> None:
    with netlink.opened() as link:
        link.delete(_PORT)


def _configure() -> None:
    netlink.allow_ipv6()
    with netlink.opened() as link:
        link.up("lo")
        link.address("eth0", str(ADDRESS), plan.UNDERLAY.prefixlen)
        link.address("eth0", str(ADDRESS6), plan.UNDERLAY6.prefixlen)
        link.up("eth0")
