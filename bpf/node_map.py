"""cilium_node_map_v2: a node's address -> the number that stands for the node on this node.

The byte layout and nothing else; Cilium's v2 layout (spec 6.1). 0 is the node itself and never in the map.
"""

from bpf import address
from bpf.address import V4_BYTES, Family
from bpf.layout import NODE_KEY, NODE_VALUE


def pack_key(ip: str) -> bytes:
    """ValueError for what is no address."""
    return NODE_KEY.pack(0, 0, address.family(ip), address.pack(ip))


def unpack_key(raw: bytes) -> str:
    *_, family, packed = NODE_KEY.unpack(raw)
    return address.text(packed[:V4_BYTES] if family == Family.IPV4 else packed)


def pack_value(number: int) -> bytes:
    return NODE_VALUE.pack(number, 0, 0)


def unpack_value(raw: bytes) -> int:
    number, *_ = NODE_VALUE.unpack(raw)
    return int(number)
