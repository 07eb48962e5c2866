"""The kernel's routes to other nodes' pods. Blocking: call through a thread.

Ours carry a protocol number of our own, so that nobody else's is touched, and so that a later life knows
them. An equal route of somebody else stays, and ours is told as a problem.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from agent import netlink
from agent.netlink import MAIN_TABLE
from agent.netlink import ROUTE_PROTOCOL as PROTOCOL
from agent.noderoutes import ON_DEVICE, Changes

ONLINK = 4  # RTNH_F_ONLINK: the gateway is no neighbour of the device's, the packet says where it goes
_GONE = (errno.ESRCH, errno.ENOENT)


@dataclass(frozen=True, slots=True)
class Tunnelled:
    """Through the tunnel device, from the node's address among the pods, which other nodes answer through
    the tunnel too. IPv6 has no gateway there: an IPv4 address cannot be one."""

    device: int
    source: str
    source6: str = ""

    def options(self, gateway: str) -> dict[str, Any]:
        if gateway == ON_DEVICE:
            return {"oif": self.device, "prefsrc": self.source6}
        return {"gateway": gateway, "oif": self.device, "flags": ONLINK, "prefsrc": self.source}

    def gateway(self, route: Any) -> str:
        """Of a route as it should be; "" of one that is otherwise."""
        source = self.source6 if route["family"] == AF_INET6 else self.source
        fits = (route.get_attr("RTA_OIF"), route.get_attr("RTA_PREFSRC")) == (self.device, source)
        if route["family"] == AF_INET6:
            return ON_DEVICE if fits and not route.get_attr("RTA_GATEWAY") else ""
        return str(route.get_attr("RTA_GATEWAY") or "") if fits else ""


@dataclass(frozen=True, slots=True)
class Direct:
    """Through the node itself, which must be a neighbour: one hop, from whatever address is usual there."""

    def options(self, gateway: str) -> dict[str, Any]:
        return {"gateway": gateway}

    def gateway(self, route: Any) -> str:
        return "" if route["flags"] & ONLINK else str(route.get_attr("RTA_GATEWAY") or "")


@dataclass(frozen=True, slots=True)
class Seen:
    """`ours`: CIDR -> gateway, "" where the rest of the route is not as it should be. `connected`: networks
    that a device of the node is in."""

    ours: Mapping[str, str]
    connected: Sequence[str]


class RouteTable:
    """Satisfies `agent.routing.Table`."""

    def __init__(self, style: Tunnelled | Direct) -> None:
        self._style = style

    def look(self) -> Seen:
        ours, connected = {}, []
        with netlink.opened() as opened:
            for route in _routes(opened):
                cidr = f"{route.get_attr('RTA_DST') or '0.0.0.0'}/{route['dst_len']}"
                if route["proto"] == PROTOCOL and route["type"] != netlink.UNREACHABLE:
                    ours[cidr] = self._style.gateway(route)
                elif _is_connected(route):
                    connected.append(cidr)
        return Seen(ours, connected)

    def change(self, changes: Changes, held: Mapping[str, str]) -> dict[str, str]:
        """Make it so; what the kernel refused, and why. One refusal holds up nothing else."""
        problems: dict[str, str] = {}
        with netlink.opened() as opened:
            for cidr, gateway in changes.set.items():
                how = "replace" if cidr in held else "add"
                try:
                    opened.route(how, dst=cidr, proto=PROTOCOL, **self._style.options(gateway))
                except NetlinkError as error:
                    problems[cidr] = _reason(error, gateway)
            for cidr in changes.remove:
                try:
                    opened.route("del", dst=cidr, proto=PROTOCOL)
                except NetlinkError as error:
                    if error.code not in _GONE:
                        problems[cidr] = _reason(error, "")
        return problems


def _routes(opened: Any) -> list[Any]:
    """Of both families; without IPv6 in the kernel there are none of it."""
    return [
        route
        for family in (AF_INET, AF_INET6)
        for route in netlink.of_family(family, opened.get_routes(family=family, table=MAIN_TABLE))
    ]


def _is_connected(route: Any) -> bool:
    if route["family"] == AF_INET6:  # knows no scopes; what a router announced counts too
        on_link = route["type"] == netlink.UNICAST and not route.get_attr("RTA_GATEWAY")
        return on_link and 0 < route["dst_len"] < 128 and route.get_attr("RTA_OIF") is not None
    return bool(route["scope"] == netlink.SCOPE_LINK and 0 < route["dst_len"] < 32)


def _reason(error: NetlinkError, gateway: str) -> str:
    if error.code == errno.EEXIST:
        return "a route that is not ours stands there"
    return f"via {gateway}: {error}" if gateway else str(error)
