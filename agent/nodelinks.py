"""The devices and routes that an agent left in the node's network namespace. Blocking."""

from __future__ import annotations

import errno
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from agent import netlink
from agent.leftovers import HOST, NET, VXLAN, Device
from bpf import leftovers

_TYPES = {netlink.UNICAST: "unicast", 6: "blackhole", netlink.UNREACHABLE: "unreachable"}  # RTN_*
_GONE = (errno.ESRCH, errno.ENOENT, errno.ENODEV)
_OURS = (VXLAN, HOST, NET)


def devices(ours: frozenset[int]) -> tuple[Device, ...]:
    """Cables, and those with our names. `ours`: ids of our programs."""
    with netlink.opened() as opened:
        filtered = {
            int(each["index"]) for each in opened.get_qdiscs() if each.get_attr("TCA_KIND") == "clsact"
        }
        found = [_device(link, ours, filtered) for link in opened.get_links()]
    return tuple(each for each in found if each.kind == "veth" or each.name in _OURS)


def routes() -> tuple[tuple[str, str], ...]:
    """CIDR and type of each route with our protocol number."""
    with netlink.opened() as opened:
        found = [
            route
            for family in (AF_INET, AF_INET6)
            for route in netlink.of_family(family, opened.get_routes(family=family, table=netlink.MAIN_TABLE))
        ]
    return tuple(
        (f"{route.get_attr('RTA_DST')}/{route['dst_len']}", _TYPES[route["type"]])
        for route in found
        if route["proto"] == netlink.ROUTE_PROTOCOL and route["type"] in _TYPES
    )


def remove_device(index: int) -> None:
    """Its other end goes too, and routes through it. Absent is no error."""
    with netlink.opened() as opened:
        _tolerant(opened.link, "del", index=index)


def remove_route(cidr: str, kind: str) -> None:
    with netlink.opened() as opened:
        _tolerant(opened.route, "del", dst=cidr, type=kind, proto=netlink.ROUTE_PROTOCOL)


def _device(link: Any, ours: frozenset[int], filtered: set[int]) -> Device:
    index = int(link["index"])
    info = link.get_attr("IFLA_LINKINFO")
    return Device(
        name=str(link.get_attr("IFLA_IFNAME")),
        index=index,
        kind=str(info.get_attr("IFLA_INFO_KIND")) if info else "",
        is_marked=link.get_attr("IFLA_IFALIAS") == netlink.MARK,
        is_shared=index in filtered or leftovers.is_used_by_others(index, ours),
    )


def _tolerant(call: Any, *args: Any, **options: Any) -> None:
    try:
        call(*args, **options)
    except NetlinkError as error:
        if error.code not in _GONE:
            raise
