"""Links, addresses, routes and neighbours of the node's network namespace. Blocking: call through a thread.

Every change is "make it so": what is right already stays untouched, so that a restart interrupts nothing.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from agent.errors import AgentError

VXLAN_PORT = 8472  # not IANA's: what every Cilium member uses
SCOPE_LINK, SCOPE_UNIVERSE = 253, 0
NUD_PERMANENT = 0x80
ROUTE_PROTOCOL = 110  # of routes that may outlive us: unassigned in iproute2's and in the kernel's lists
MAIN_TABLE = 254
UNICAST, UNREACHABLE = 1, 7  # RTN_UNICAST, RTN_UNREACHABLE
NO_DAD = 0x02  # nobody else can have the address: no wait until the kernel has made sure
MARK = "clustermesh"  # what devices of ours are told by, besides their names: Cilium's have the same (alias)
IPV6_SWITCH = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")


class NetlinkFailedError(AgentError):
    """The kernel refused a change of links, addresses or routes."""


@dataclass(frozen=True, slots=True)
class Link:
    index: int
    mac: str


@contextmanager
def opened() -> Iterator[Any]:
    try:
        with IPRoute() as route:
            yield route
    except NetlinkError as error:
        raise NetlinkFailedError(f"netlink: {error}") from error


def find(name: str) -> Link | None:
    with opened() as route:
        return _find(route, name)


def links() -> dict[str, int]:
    """Name -> index of all links."""
    with opened() as route:
        return {str(link.get_attr("IFLA_IFNAME")): int(link["index"]) for link in route.get_links()}


def address_of(name: str = "") -> list[str]:
    """The node's IPv4 addresses, of one link or of all."""
    with opened() as route:
        index = _find(route, name) if name else None
        found = route.get_addr(family=2, **({"index": index.index} if index else {}))
        return [str(address.get_attr("IFA_ADDRESS")) for address in found]


def having(address: str) -> list[int]:
    """Indices of the links that have an address."""
    family = _family(address)
    own = "IFA_LOCAL" if family == AF_INET else "IFA_ADDRESS"
    with opened() as route:
        found = of_family(family, route.get_addr(family=family))
        return sorted({int(a["index"]) for a in found if a.get_attr(own) == address})


def ensure_vxlan(name: str, *, mtu: int) -> Link:
    """The tunnel device: one for all peers, the packet says where it goes and who sends it."""
    with opened() as route:
        link = _find(route, name)
        if link is None:
            # `vxlan_metadata` would be accepted and ignored: an ordinary device without metadata
            route.link(
                "add", ifname=name, kind="vxlan", vxlan_collect_metadata=True, vxlan_port=VXLAN_PORT, mtu=mtu
            )
            link = _existing(route, name)
        # nobody behind it answers ARP: whom a packet is for, its tunnel key says
        route.link("set", index=link.index, state="up", arp=False, ifalias=MARK)
        return link


def remove(name: str) -> None:
    with opened() as route:
        if (link := _find(route, name)) is not None:
            _ignoring(errno.ENODEV, route.link, "del", index=link.index)


def mtu_of(address: str) -> int:
    """Of the link that has the address; 0 when none has it."""
    with opened() as route:
        for found in route.get_addr(family=2):
            if found.get_attr("IFA_ADDRESS") == address:
                (link,) = route.get_links(found["index"])
                return int(link.get_attr("IFLA_MTU"))
    return 0


def has_ipv6() -> bool:
    """Whether this network namespace may have IPv6 addresses."""
    try:
        return IPV6_SWITCH.read_text().strip() == "0"
    except OSError:  # a kernel without IPv6, or started so
        return False


def ensure_gateway(name: str, peer: str, *addresses: str) -> Link:
    """The node's own addresses among the pods, on one end of a cable that leads nowhere."""
    with opened() as route:
        if _find(route, name) is None:
            route.link("add", ifname=name, kind="veth", peer=peer)
        link = _existing(route, name)
        for address in addresses:
            flags = {"flags": NO_DAD} if _family(address) == AF_INET6 else {}
            own = {"index": link.index, "address": address, "prefixlen": _bits(address)}
            _ignoring(errno.EEXIST, route.addr, "add", **own, **flags)
        for old in _global_addresses(route, link.index):
            if old.get_attr("IFA_ADDRESS") not in addresses:  # of a pod CIDR the node had before
                route.addr(
                    "del", index=link.index, address=old.get_attr("IFA_ADDRESS"), prefixlen=old["prefixlen"]
                )
        for index in (link.index, _existing(route, peer).index):
            route.link("set", index=index, state="up", ifalias=MARK)
        return link


def _global_addresses(route: Any, index: int) -> list[Any]:
    """Those that somebody gave: every IPv6 link has one of its own besides."""
    found = [
        address
        for family in (AF_INET, AF_INET6)
        for address in of_family(family, route.get_addr(family=family, index=index))
    ]
    return [address for address in found if address["scope"] == SCOPE_UNIVERSE]


def ensure_pod_route(address: str, link: int, mac: str, source: str) -> None:
    """Reach a pod directly by its cable; its neighbour is fixed, so that nobody need be asked for it."""
    with opened() as route:
        route.route("replace", dst=_host(address), oif=link, prefsrc=source, **_scope(address))
        route.neigh(
            "replace", dst=address, lladdr=mac, ifindex=link, state=NUD_PERMANENT, family=_family(address)
        )


def ensure_unreachable(*cidrs: str) -> None:
    """Our own pods have routes of their own; what is for nobody must not leave, or it comes back for ever."""
    with opened() as route:
        for family in (AF_INET, AF_INET6):
            for old in of_family(family, route.get_routes(family=family, table=MAIN_TABLE, type=UNREACHABLE)):
                shown = f"{old.get_attr('RTA_DST')}/{old['dst_len']}"
                if old["proto"] == ROUTE_PROTOCOL and shown not in cidrs:  # of a pod CIDR the node had before
                    route.route("del", dst=shown, type="unreachable", proto=ROUTE_PROTOCOL)
        for cidr in cidrs:
            route.route("replace", dst=cidr, type="unreachable", proto=ROUTE_PROTOCOL)


def of_family(family: int, found: Iterable[Any]) -> list[Any]:
    """Of routes or addresses. A kernel without IPv6 answers a question for it with everything it has."""
    return [each for each in found if each["family"] == family]


def remove_pod_route(address: str, link: int) -> None:
    """Both go with the link; this is for a link that stays."""
    gone = (errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EINVAL)
    with opened() as route:
        _ignoring(gone, route.route, "del", dst=_host(address), oif=link, **_scope(address))
        _ignoring(gone, route.neigh, "del", dst=address, ifindex=link, family=_family(address))


def _family(address: str) -> int:
    return AF_INET6 if ":" in address else AF_INET


def _bits(address: str) -> int:
    return 128 if ":" in address else 32


def _host(address: str) -> str:
    return f"{address}/{_bits(address)}"


def _scope(address: str) -> dict[str, int]:
    """IPv6 knows no scopes of routes."""
    return {} if ":" in address else {"scope": SCOPE_LINK}


def _find(route: Any, name: str) -> Link | None:
    found = route.link_lookup(ifname=name)
    if not found:
        return None
    (link,) = route.get_links(found[0])
    return Link(int(found[0]), str(link.get_attr("IFLA_ADDRESS")))


def _existing(route: Any, name: str) -> Link:
    link = _find(route, name)
    if link is None:
        raise NetlinkFailedError(f"no link {name}")
    return link


def _ignoring(codes: int | tuple[int, ...], call: Any, *args: Any, **options: Any) -> None:
    try:
        call(*args, **options)
    except NetlinkError as error:
        if error.code not in (codes if isinstance(codes, tuple) else (codes,)):
            raise
