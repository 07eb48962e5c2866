"""cilium_ct4_global and cilium_ct6_global: the connections of this node's endpoints. Read-only for us.

The byte layout and nothing else: the programs write it. A key's length says its family.
"""

from dataclasses import dataclass

from bpf import address
from bpf.layout import CT_KEY, CT_VALUE
from bpf.layout6 import CT6_KEY

_IN = 1
_SERVICE = 4  # of a node port: what a client outside was given (OUT), and what it believes to talk to (IN)
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
    service: bool = False


@dataclass(frozen=True, slots=True)
class Connection:
    packets: int
    bytes: int
    lifetime: int  # seconds of the monotonic clock
    source_identity: int
    closing: bool


def unpack_key(raw: bytes) -> ConnectionKey:
    layout = CT6_KEY if len(raw) == CT6_KEY.size else CT_KEY
    daddr, saddr, dport, sport, protocol, flags = layout.unpack(raw)
    return ConnectionKey(
        address.text(saddr),
        int.from_bytes(sport, "big"),
        address.text(daddr),
        int.from_bytes(dport, "big"),
        protocol,
        bool(flags & _IN),
        bool(flags & _SERVICE),
    )


def concerns(raw: bytes, packed: bytes) -> bool:
    """Is the address, in bytes, one of a key's ends? Without reading the rest of it."""
    size = len(packed)
    return packed in {raw[:size], raw[size : 2 * size]}


def unpack_value(raw: bytes) -> Connection:
    fields = dict(zip((name for name, _ in CT_VALUE.fields), CT_VALUE.unpack(raw), strict=True))
    return Connection(
        fields["packets"],
        fields["bytes"],
        fields["lifetime"],
        fields["src_sec_id"],
        fields["flags"] & _CLOSING == _CLOSING,
    )
