"""cilium_node_config: what differs from node to node, and which source is loaded.

The byte layout and nothing else; one entry.
"""

import socket
from dataclasses import dataclass

from bpf.layout import NODE_CONFIG_KEY, NODE_CONFIG_VALUE

KEY = NODE_CONFIG_KEY.pack(0)
NO_HASH = bytes(NODE_CONFIG_VALUE.offsets["source_hash"][1])


@dataclass(frozen=True, slots=True)
class NodeConfig:
    node_ip: str
    vxlan_ifindex: int
    mtu: int
    source_hash: bytes = NO_HASH


def pack_value(config: NodeConfig) -> bytes:
    try:
        address = socket.inet_pton(socket.AF_INET, config.node_ip)
    except OSError as error:
        raise ValueError(f"not an IPv4 address: {config.node_ip!r}") from error
    return NODE_CONFIG_VALUE.pack(address, config.vxlan_ifindex, config.mtu, config.source_hash)


def unpack_value(raw: bytes) -> NodeConfig:
    address, ifindex, mtu, source_hash = NODE_CONFIG_VALUE.unpack(raw)
    return NodeConfig(socket.inet_ntoa(address), ifindex, mtu, source_hash)
