"""cilium_ct4_global: the connections of this node's endpoints. Read-only for us.

The byte layout and nothing else: the programs write it.
"""

import socket
from dataclasses import dataclass

from bpf.layout import CT_KEY, CT_VALUE

_IN = 1
_CLOSING = 0b11


@dataclass(frozen=True, slots=True)
class ConnectionKey:
    """The tuple of the packet that opened it; for ICMP the source port is the echo's identifier."""

    source: str
    source_port: int
    destination: str
    destination_port: int
    protocol: int
    inbound: bool


@dataclass(frozen=True, slots=True)
class Connection:
    packets: int
    bytes: int
    lifetime: int  # seconds of the monotonic clock
    source_identity: int
    closing: bool


def unpack_key(raw: bytes) -> ConnectionKey:
    daddr, saddr, dport, sport, protocol, flags = CT_KEY.unpack(raw)
    return ConnectionKey(
        socket.inet_ntoa(saddr),
        int.from_bytes(sport, "big"),
        socket.inet_ntoa(daddr),
        int.from_bytes(dport, "big"),
        protocol,
        bool(flags & _IN),
    )


def addresses(raw: bytes) -> tuple[str, str]:
    """Both ends of a key, without reading the rest of it."""
    return socket.inet_ntoa(raw[:4]), socket.inet_ntoa(raw[4:8])


def unpack_value(raw: bytes) -> Connection:
    fields = dict(zip((name for name, _ in CT_VALUE.fields), CT_VALUE.unpack(raw), strict=True))
    return Connection(
        fields["packets"],
        fields["bytes"],
        fields["lifetime"],
        fields["src_sec_id"],
        fields["flags"] & _CLOSING == _CLOSING,
    )
