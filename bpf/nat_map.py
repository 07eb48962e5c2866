"""cilium_snat_v4_external, cilium_nodeport_config and those of IPv6: byte layouts and nothing else.

The first is Cilium's, and the programs' own: an LRU of whom a node stands for towards other nodes' backends.
"""

import socket
from dataclasses import dataclass

from bpf import address, ct_map
from bpf.layout import CT_KEY, NODE_CONFIG_KEY
from bpf.layout_nat import NODEPORT6_CONFIG_VALUE, NODEPORT_CONFIG_VALUE, SNAT6_VALUE, SNAT_VALUE

CONFIG_KEY = NODE_CONFIG_KEY.pack(0)


@dataclass(frozen=True, slots=True)
class Mapping:
    """`back`: for packets of the backend, which get `ip` and `port` as destination; else as source."""

    source: str
    source_port: int
    destination: str
    destination_port: int
    protocol: int
    back: bool
    ip: str
    port: int
    created: int  # nanoseconds of the monotonic clock


def unpack(raw_key: bytes, raw: bytes) -> Mapping:
    key = ct_map.unpack_key(raw_key)
    layout = SNAT_VALUE if len(raw_key) == CT_KEY.size else SNAT6_VALUE
    created, _, _, _, packed, port, _ = layout.unpack(raw)
    ends = key.source, key.source_port, key.destination, key.destination_port
    return Mapping(
        *ends, key.protocol, key.inbound, address.text(packed), int.from_bytes(port, "big"), created
    )


def pack_config(gateway: str, device: int = 0) -> bytes:
    """`gateway`: empty for none. `device`: by which other nodes are reached, 0 for the client's."""
    return NODEPORT_CONFIG_VALUE.pack(socket.inet_aton(gateway) if gateway else b"", device)


def pack_config6(node_ip: str, gateway: str, device: int = 0) -> bytes:
    """As `pack_config`, with the node's own address, which is in no other map; empty for none."""
    packed = (address.pack(ip) if ip else b"" for ip in (node_ip, gateway))
    return NODEPORT6_CONFIG_VALUE.pack(*packed, device)
