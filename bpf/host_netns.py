"""cilium_host_netns: which network namespace is the node's own, as programs see it. One entry."""

import socket

from bpf.layout import NODE_CONFIG_KEY
from bpf.layout_nat import HOST_NETNS_VALUE

KEY = NODE_CONFIG_KEY.pack(0)
_SO_NETNS_COOKIE = 71  # Linux 5.14; Python has no name for it


def pack_value(cookie: int) -> bytes:
    """0: not known, and no process is held to be the node's."""
    return HOST_NETNS_VALUE.pack(cookie)


def cookie() -> int:
    """The kernel's number of this thread's network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        raw = probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, HOST_NETNS_VALUE.size)
    return int.from_bytes(raw, "little")
