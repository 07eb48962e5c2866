"""cilium_lxc: the endpoints of this node, by address, IPv4 and IPv6.

The byte layout and nothing else; Cilium's layout, frozen. Two bits of `flags`, which
Cilium leaves unused, say in which directions policy is enforced, and a third that some
policy entries are for ranges of ports: write the policy entries first and then the bit,
and in reverse when it ends.
"""

from dataclasses import dataclass

from bpf import address
from bpf.address import Family
from bpf.layout import ENDPOINT_KEY, ENDPOINT_VALUE

_INGRESS_ENFORCED, _EGRESS_ENFORCED, _PORT_RANGES = 1 << 16, 1 << 17, 1 << 18


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`ifindex` is the host's side of the veth, whose MAC is `node_mac`; `mac` is the pod's."""

    ifindex: int
    endpoint_id: int
    identity: int
    mac: str
    node_mac: str
    ingress_enforced: bool = False
    egress_enforced: bool = False
    port_ranges: bool = False


def pack_key(ip: str) -> bytes:
    """Of either family; an endpoint has an entry for each of its addresses."""
    return ENDPOINT_KEY.pack(address.pack(ip), address.family(ip), 0, 0)


def unpack_key(raw: bytes) -> str:
    packed, family, *_ = ENDPOINT_KEY.unpack(raw)
    return address.text(packed if family == Family.IPV6 else packed[: address.V4_BYTES])


def pack_value(endpoint: Endpoint) -> bytes:
    flags = _INGRESS_ENFORCED if endpoint.ingress_enforced else 0
    flags |= _EGRESS_ENFORCED if endpoint.egress_enforced else 0
    flags |= _PORT_RANGES if endpoint.port_ranges else 0
    mac, node_mac = _mac(endpoint.mac), _mac(endpoint.node_mac)
    return ENDPOINT_VALUE.pack(
        endpoint.ifindex, 0, endpoint.endpoint_id, flags, 0, mac, node_mac, endpoint.identity, 0, b""
    )


def unpack_value(raw: bytes) -> Endpoint:
    ifindex, _, endpoint_id, flags, _, mac, node_mac, identity, _, _ = ENDPOINT_VALUE.unpack(raw)
    return Endpoint(
        ifindex,
        endpoint_id,
        identity,
        mac[:6].hex(":"),
        node_mac[:6].hex(":"),
        bool(flags & _INGRESS_ENFORCED),
        bool(flags & _EGRESS_ENFORCED),
        bool(flags & _PORT_RANGES),
    )


def _mac(text: str) -> bytes:
    raw = bytes.fromhex(text.replace(":", ""))
    if len(raw) != 6:
        raise ValueError(f"not a MAC address: {text!r}")
    return raw
