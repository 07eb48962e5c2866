"""One tc program on one packet, through BPF_PROG_TEST_RUN: no device, no traffic."""

import os
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from bench import testrun
from bpf import syscall

PASS, SHOT, REDIRECT = 0, 2, 7
LOOPBACK = 1  # where the kernel says that the packet is

IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
TCP, UDP, ICMP, SCTP = 6, 17, 1, 132
SYN, ACK, RST, FIN = 0x02, 0x10, 0x04, 0x01


def run(program: Path, packet: bytes) -> tuple[int, bytes]:
    """The verdict, and the packet as the program left it."""
    fd = syscall.obj_get(program)
    try:
        outcome = testrun.run(fd, packet)
    finally:
        os.close(fd)
    return outcome.verdict, outcome.left


@dataclass(frozen=True, slots=True)
class Packet:
    source: str
    destination: str
    protocol: int = TCP
    source_port: int = 40_000
    port: int = 80
    tcp_flags: int = SYN
    icmp_type: int = 8
    identifier: int = 77  # of an echo
    fragment: int = 0
    options: bytes = b""

    def reply(self, tcp_flags: int = SYN | ACK) -> "Packet":
        return Packet(
            *(self.destination, self.source, self.protocol, self.port, self.source_port),
            tcp_flags=tcp_flags,
            icmp_type=0,
        )

    def frame(self) -> bytes:
        body = self._body()
        length = 20 + len(self.options)
        header = struct.pack(
            "!BBHHHBBH4s4s",
            *(0x40 | length // 4, 0, length + len(body), 99, self.fragment, 64, self.protocol, 0),
            *(IPv4Address(self.source).packed, IPv4Address(self.destination).packed),
        )
        return ethernet(IPV4) + header + self.options + body

    def _body(self) -> bytes:
        if self.protocol == TCP:
            return struct.pack(
                "!HHIIBBHHH", self.source_port, self.port, 1, 0, 0x50, self.tcp_flags, 512, 0, 0
            )
        if self.protocol == UDP:
            return struct.pack("!HHHH", self.source_port, self.port, 12, 0) + b"data"
        if self.protocol == ICMP:
            return struct.pack("!BBHHH", self.icmp_type, 0, 0, self.identifier, 1) + b"data"
        if self.protocol == SCTP:
            return struct.pack("!HHII", self.source_port, self.port, 1, 0) + b"data"
        return bytes(16)


def ethernet(kind: int) -> bytes:
    return bytes.fromhex("0200000000aa" + "0200000000bb") + struct.pack("!H", kind)


def arp(operation: int, sender_mac: str, sender: str, target: str) -> bytes:
    return ethernet(ARP) + struct.pack(
        "!HHBBH6s4s6s4s",
        *(1, IPV4, 6, 4, operation, bytes.fromhex(sender_mac.replace(":", ""))),
        *(IPv4Address(sender).packed, bytes(6), IPv4Address(target).packed),
    )
