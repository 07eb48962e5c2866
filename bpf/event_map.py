"""cilium_events and cilium_event_config: single packets for whoever watches, and what is wanted of them.

The byte layout, and the words for Cilium's numbers.
"""

from dataclasses import dataclass

from bpf import address
from bpf.layout import EVENT, EVENT_CONFIG_VALUE, NODE_CONFIG_KEY
from bpf.layout6 import EVENT6
from bpf.metrics_map import DIRECTIONS, REASONS

KEY = NODE_CONFIG_KEY.pack(0)
KINDS = {1: "drop", 4: "trace"}
PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}
_TCP_FLAGS = {0x02: "SYN", 0x10: "ACK", 0x01: "FIN", 0x04: "RST"}


@dataclass(frozen=True, slots=True)
class Event:
    """`time` is in nanoseconds of the monotonic clock; `peer` 0: the program did not get so far."""

    time: int
    kind: str
    reason: str
    direction: str
    endpoint_id: int
    peer: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    protocol: str
    tcp_flags: str
    length: int


def unpack(raw: bytes) -> Event:
    """A record of either family: its length says of which."""
    time, peer, source, destination, sport, dport, length, endpoint, kind, reason, way, protocol, flags, _ = (
        EVENT6 if len(raw) == EVENT6.size else EVENT
    ).unpack(raw)
    return Event(
        time,
        KINDS.get(kind, str(kind)),
        REASONS.get(reason, f"reason {reason}"),
        DIRECTIONS.get(way, str(way)),
        endpoint,
        peer,
        address.text(source),
        int.from_bytes(sport, "big"),
        address.text(destination),
        int.from_bytes(dport, "big"),
        PROTOCOLS.get(protocol, str(protocol)),
        ",".join(word for bit, word in _TCP_FLAGS.items() if flags & bit),
        length,
    )


def pack_config(*, drops: bool, trace_every: int) -> bytes:
    """`trace_every`: one of so many forwarded packets; 0: none."""
    return EVENT_CONFIG_VALUE.pack(int(drops), trace_every)
