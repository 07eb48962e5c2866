"""IP addresses as the maps have them: four bytes or sixteen, in network order. Pure."""

import ipaddress
import socket
from enum import IntEnum

V4_BYTES, V6_BYTES = 4, 16


class Family(IntEnum):
    """As the maps that have both say it."""

    IPV4 = 1
    IPV6 = 2


def family(ip: str) -> Family:
    return Family.IPV6 if ":" in ip else Family.IPV4


def pack(ip: str) -> bytes:
    """ValueError for what is no address."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)
    except OSError as error:
        raise ValueError(f"not an IP address: {ip!r}") from error


def text(raw: bytes) -> str:
    # not inet_ntop for IPv6: it writes ::1:0 as ::0.1.0.0, which no peer does
    return socket.inet_ntoa(raw) if len(raw) == V4_BYTES else str(ipaddress.IPv6Address(raw))
