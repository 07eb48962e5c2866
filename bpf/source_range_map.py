"""cilium_lb4_source_range and cilium_lb6_source_range: byte layouts and nothing else. Cilium's, frozen.

Which clients outside a service is for. A service says in its master entry's flags that it is not for all of
them (lb_map.FLAG_SOURCE_RANGES); networks stand here under its reverse NAT id. Agent's own.
"""

import ipaddress
from dataclasses import dataclass

from bpf import address
from bpf.layout_nat import LB4_SOURCE_RANGE_KEY, LB6_SOURCE_RANGE_KEY, SOURCE_RANGE_VALUE

FIXED_BITS = 32  # the reverse NAT id and its pad are always matched in full
RANGE = SOURCE_RANGE_VALUE.pack(0)


@dataclass(frozen=True, slots=True)
class SourceRange:
    rev_nat: int
    network: str


def pack_key(rev_nat: int, network: str) -> bytes:
    """`network`: a CIDR, whose family decides that of the key. ValueError for anything else."""
    parsed = ipaddress.ip_network(network)
    layout = LB4_SOURCE_RANGE_KEY if parsed.version == 4 else LB6_SOURCE_RANGE_KEY
    bits = FIXED_BITS + parsed.prefixlen
    return layout.pack(bits, rev_nat.to_bytes(2, "big"), 0, parsed.network_address.packed)


def unpack_key(raw: bytes) -> SourceRange:
    layout = LB4_SOURCE_RANGE_KEY if len(raw) == LB4_SOURCE_RANGE_KEY.size else LB6_SOURCE_RANGE_KEY
    bits, rev_nat, _, packed = layout.unpack(raw)
    return SourceRange(int.from_bytes(rev_nat, "big"), f"{address.text(packed)}/{bits - FIXED_BITS}")
