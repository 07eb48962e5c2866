"""Links, addresses, routes and neighbours of one network namespace, through pyroute2.

Each function is called inside the namespace (`netns.run`) and is idempotent where the kernel lets it be.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from lab import netns

_SCOPE_LINK = 253
_NUD_PERMANENT = 0x80
_NO_DAD = 0x02


@contextmanager
def opened() -> Iterator[Link]:
    """A view that lives as long as the block. The kernel's refusals come out of it as OSError."""
    try:
        with IPRoute() as route:
            yield Link(route)
    except NetlinkError as error:
        raise OSError(error.code, f"the kernel refuses a network change: {error}") from error


class Link:
    """One netlink socket's view: names in, no indexes out unless asked."""

    def __init__(self, route: Any) -> None:
        self._route = route

    def index(self, name: str) -> int | None:
        found = self._route.link_lookup(ifname=name)
        return int(found[0]) if found else None

    def mac(self, name: str) -> str:
        (link,) = self._route.get_links(self._index(name))
        return str(link.get_attr("IFLA_ADDRESS"))

    def bridge(self, name: str) -> None:
        # no forward delay: the first packet of a new node must not wait
        self._route.link("add", ifname=name, kind="bridge", br_forward_delay=0, br_stp_state=0)

    def veth(self, name: str, peer: str, peer_namespace: str, *, mtu: int) -> None:
        """A cable whose other end is `peer` in another namespace."""
        with netns.path(peer_namespace).open("rb") as file:
            peer_end = {"ifname": peer, "mtu": mtu, "net_ns_fd": file.fileno()}
            self._route.link("add", ifname=name, kind="veth", mtu=mtu, peer=peer_end)

    def delete(self, name: str) -> None:
        if (index := self.index(name)) is not None:
            _ignoring(errno.ENODEV, self._route.link, "del", index=index)

    def up(self, name: str) -> None:
        self._route.link("set", index=self._index(name), state="up")

    def enslave(self, name: str, bridge: str) -> None:
        self._route.link("set", index=self._index(name), master=self._index(bridge))

    def address(self, name: str, ip: str, prefix_length: int) -> None:
        index = self._index(name)
        own = {"index": index, "address": ip, "prefixlen": prefix_length}
        if ":" in ip:
            own["flags"] = _NO_DAD  # usable at once: nobody else can have it
        _ignoring(errno.EEXIST, self._route.addr, "add", **own)

    def link_route(self, destination: str, name: str) -> None:
        """Reach `destination` directly on `name`."""
        index = self._index(name)
        scope = {} if ":" in destination else {"scope": _SCOPE_LINK}
        self._route.route("replace", dst=destination, oif=index, **scope)

    def default_route(self, gateway: str, name: str, *, mtu: int) -> None:
        index = self._index(name)
        everywhere = "::/0" if ":" in gateway else "0.0.0.0/0"
        self._route.route("replace", dst=everywhere, gateway=gateway, oif=index, metrics={"mtu": mtu})

    def neighbour(self, ip: str, mac: str, name: str) -> None:
        """A fixed answer to `who has ip`, so that nobody need be asked."""
        index, family = self._index(name), AF_INET6 if ":" in ip else AF_INET
        self._route.neigh("replace", dst=ip, lladdr=mac, ifindex=index, state=_NUD_PERMANENT, family=family)

    def _index(self, name: str) -> int:
        index = self.index(name)
        if index is None:
            raise OSError(errno.ENODEV, f"no interface {name}")
        return index


def unfilter_bridges() -> None:
    """What crosses this namespace's bridges passes no packet filter, as on a wire.

    Where the kernel has no filter for bridges, there is nothing to switch off.
    """
    for path in Path("/proc/sys/net/bridge").glob("bridge-nf-call-*"):
        path.write_text("0")


def sysctl(name: str, value: str) -> None:
    """Set `net.…` of the namespace that the calling thread is in."""
    Path("/proc/sys", name.replace(".", "/")).write_text(value)


def allow_ipv6() -> None:
    """IPv6 in the namespace that the calling thread is in, whatever the machine has; nothing is learned from
    routers, and a link's own address is usable at once."""
    for scope in ("all", "default"):
        for name, value in (("disable_ipv6", "0"), ("accept_ra", "0"), ("accept_dad", "0")):
            sysctl(f"net.ipv6.conf.{scope}.{name}", value)


def _ignoring(code: int, call: Any, *args: Any, **options: Any) -> None:
    try:
        call(*args, **options)
    except NetlinkError as error:
        if error.code != code:
            raise
