"""Packets of IPv6 for `testrun.run`."""

import struct
from dataclasses import dataclass, replace
from ipaddress import IPv6Address

from tests.bpf.testrun import ACK, IPV6, SCTP, SYN, TCP, UDP, ethernet

__all__ = ["ACK", "ICMPV6", "SCTP", "SYN", "TCP", "UDP", "Packet6", "fragment", "options"]

ICMPV6 = 58
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60


@dataclass(frozen=True, slots=True)
class Packet6:
    """`headers`: extension headers, each a number and its bytes after the first."""

    source: str
    destination: str
    protocol: int = TCP
    source_port: int = 40_000
    port: int = 80
    tcp_flags: int = SYN
    icmp_type: int = 128
    hop_limit: int = 64
    headers: tuple[tuple[int, bytes], ...] = ()
    identifier: int = 77  # of an echo
    body: bytes = b""  # of ICMPv6, after its first eight bytes

    def reply(self, tcp_flags: int = SYN | ACK) -> "Packet6":
        return Packet6(
            *(self.destination, self.source, self.protocol, self.port, self.source_port),
            tcp_flags=tcp_flags,
            icmp_type=129,
        )

    def about(self, icmp_type: int, source: str, whole: bool = True) -> "Packet6":
        """The error that `source` sends back about this packet, all of it or 48 bytes."""
        quoted = self.frame()[14:]
        return Packet6(
            source, self.source, ICMPV6, icmp_type=icmp_type, body=quoted if whole else quoted[:48]
        )

    def frame(self) -> bytes:
        payload, following = self._transport(), self.protocol
        for number, rest in reversed(self.headers):
            payload, following = bytes([following]) + rest + payload, number
        head = struct.pack("!IHBB", 6 << 28, len(payload), following, self.hop_limit)
        ends = IPv6Address(self.source).packed + IPv6Address(self.destination).packed
        return ethernet(IPV6) + head + ends + payload

    def _transport(self) -> bytes:
        if self.protocol == TCP:
            return struct.pack(
                "!HHIIBBHHH", self.source_port, self.port, 1, 0, 0x50, self.tcp_flags, 512, 0, 0
            )
        if self.protocol == UDP:
            return struct.pack("!HHHH", self.source_port, self.port, 12, 0) + b"data"
        if self.protocol == ICMPV6:
            return struct.pack("!BBHHH", self.icmp_type, 0, 0, self.identifier, 1) + (self.body or b"data")
        if self.protocol == SCTP:
            return struct.pack("!HHII", self.source_port, self.port, 1, 0) + b"data"
        return bytes(16)

    def within(self, *headers: tuple[int, bytes]) -> "Packet6":
        return replace(self, headers=headers)


def options(number: int, units: int = 0) -> tuple[int, bytes]:
    """A header of padding, as long as `units` times eight bytes say, and eight."""
    return number, bytes([units]) + bytes(6 + 8 * units)


def fragment(offset: int, more: bool, identifier: int = 7) -> tuple[int, bytes]:
    """`offset` in units of eight bytes."""
    return FRAGMENT, struct.pack("!BHI", 0, offset << 3 | more, identifier)
