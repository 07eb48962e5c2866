"""Does a pod's address answer an ICMP echo? For backends that no connection could be opened to.

A raw socket, connected: it hears one address only, and echo replies only. The application hears nothing.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct

_REQUEST, _REPLY = {4: 8, 6: 128}, {4: 0, 6: 129}
_ECHO = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence
_SOL_RAW, _ICMP_FILTER, _ICMP6_FILTER = (
    255,
    1,
    1,
)  # linux/icmp.h, linux/icmpv6.h: a bit set is a type left out


async def echoed(ip: str, limit: float) -> bool:
    """Whether an answer came within `limit` seconds. Raises OSError where the kernel would not ask."""
    version = 6 if ":" in ip else 4
    loop = asyncio.get_running_loop()
    with _opened(version) as sock:
        sock.connect((ip, 0))
        identifier = random.getrandbits(16)
        await loop.sock_sendall(sock, request(version, identifier))
        try:
            async with asyncio.timeout(limit):
                while not is_reply(version, await loop.sock_recv(sock, 128), identifier):
                    pass
        except TimeoutError:
            return False
    return True


def request(version: int, identifier: int) -> bytes:
    """Of ICMPv6 without its checksum, which the kernel writes. Pure."""
    kind = _REQUEST[version]
    total = (kind << 8) + identifier + 1
    checksum = 0 if version == 6 else ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return _ECHO.pack(kind, 0, checksum, identifier, 1)


def is_reply(version: int, received: bytes, identifier: int) -> bool:
    """`received` as a raw socket gives it: of IPv4 with the IP header. Pure."""
    start = (received[0] & 0xF) * 4 if version == 4 and received else 0
    if len(received) < start + _ECHO.size:
        return False
    kind, _, _, answered, _ = _ECHO.unpack_from(received, start)
    return (kind, answered) == (_REPLY[version], identifier)


def _opened(version: int) -> socket.socket:
    if version == 4:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        level, option = _SOL_RAW, _ICMP_FILTER
        blocked = struct.pack("=I", 0xFFFFFFFF & ~(1 << _REPLY[4]))
    else:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        level, option = socket.IPPROTO_ICMPV6, _ICMP6_FILTER
        words = [0xFFFFFFFF] * 8
        words[_REPLY[6] // 32] &= ~(1 << _REPLY[6] % 32)
        blocked = struct.pack("=8I", *words)
    sock.setblocking(False)
    sock.setsockopt(level, option, blocked)
    return sock
