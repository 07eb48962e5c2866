"""The lab's cables: one fabric with a bridge, and a namespace per node on it.

Nothing is added to the machine's own network: no address, no route, no interface. The agent owns what it
needs on a node beyond `eth0` and `lo` (its vxlan device, its routes); the lab does not make them.
"""

from __future__ import annotations

from lab import netlink, netns, plan
from lab.plan import LabPlan, NodePlan

_BRIDGE = "fabric"
_UNDERLAY_MTU = 1500


def build(lab: LabPlan) -> None:
    """Make every namespace and cable. Call `tear_down` if it raises."""
    netns.create(lab.fabric)
    netns.run(lab.fabric, _make_bridge)
    for node in lab.nodes:
        add_node(lab, node)


def add_node(lab: LabPlan, node: NodePlan) -> None:
    netns.create(node.namespace)
    netns.run(lab.fabric, lambda: _plug(node))
    netns.run(node.namespace, lambda: _configure(node))


def tear_down(lab: str) -> list[str]:
    """Remove all namespaces of a lab, known or not; the cables go with them."""
    removed = netns.names(plan.namespace_prefix(lab))
    for name in removed:
        netns.remove(name)
    return removed


def _make_bridge() -> None:
    netlink.unfilter_bridges()
    with netlink.opened() as link:
        link.up("lo")
        link.bridge(_BRIDGE)
        link.up(_BRIDGE)


def _plug(node: NodePlan) -> None:
    with netlink.opened() as link:
        link.delete(node.port_name)
        link.veth(node.port_name, "eth0", node.namespace, mtu=_UNDERLAY_MTU)
        link.enslave(node.port_name, _BRIDGE)
        link.up(node.port_name)


def _configure(node: NodePlan) -> None:
    # a node forwards for its pods; pods' source addresses are behind routes the agent may not have made yet
    netlink.sysctl("net.ipv4.ip_forward", "1")
    if node.ipv6:
        netlink.allow_ipv6()
        netlink.sysctl("net.ipv6.conf.all.forwarding", "1")
    for scope in ("all", "default"):
        netlink.sysctl(f"net.ipv4.conf.{scope}.rp_filter", "0")
    with netlink.opened() as link:
        link.up("lo")
        link.address("eth0", str(node.ip), plan.UNDERLAY.prefixlen)
        if node.ip6:
            link.address("eth0", str(node.ip6), plan.UNDERLAY6.prefixlen)
        link.up("eth0")
