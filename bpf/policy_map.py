"""cilium_policy: who may talk to (or be talked to by) an endpoint.

The byte layout and nothing else. Unlike Cilium, which has one LPM map per endpoint,
one hash serves all endpoints of the node: the program asks for the exact entry and
then for the wider ones. Zero means "any": in the identity, in the port, or in port and
protocol together. An entry may leave the last 4, 8 or 12 bits of the port open: the program
asks for those only where the endpoint's flag says that there are any. For ICMP the port is
256 + type. A deny of any width beats every allow.
"""

from dataclasses import dataclass
from enum import IntEnum

from bpf.layout import POLICY_KEY, POLICY_VALUE

OPEN_BITS = (0, 4, 8, 12)
ICMP_TYPES = 256  # added to a type, to tell type 0 from "any"


class Direction(IntEnum):
    INGRESS = 0
    EGRESS = 1


@dataclass(frozen=True, slots=True)
class PolicyKey:
    endpoint_id: int
    identity: int = 0
    port: int = 0
    protocol: int = 0
    direction: Direction = Direction.INGRESS
    open_bits: int = 0


def pack_key(  # noqa: PLR0917 - the fields, in the order that people say them
    endpoint_id: int,
    identity: int = 0,
    port: int = 0,
    protocol: int = 0,
    direction: Direction = Direction.INGRESS,
    open_bits: int = 0,
) -> bytes:
    """ValueError for what the program never asks for: a port without a protocol, or odd open bits."""
    if (port or open_bits) and not protocol:
        raise ValueError("a policy entry with a port needs a protocol")
    if open_bits not in OPEN_BITS or port & ((1 << open_bits) - 1):
        raise ValueError(f"a policy entry cannot leave {open_bits} bits of port {port} open")
    return POLICY_KEY.pack(identity, endpoint_id, port.to_bytes(2, "big"), protocol, direction, open_bits)


def unpack_key(raw: bytes) -> PolicyKey:
    identity, endpoint_id, port, protocol, direction, open_bits = POLICY_KEY.unpack(raw)
    number = int.from_bytes(port, "big")
    return PolicyKey(endpoint_id, identity, number, protocol, Direction(direction), open_bits)


def pack_value(*, deny: bool = False) -> bytes:
    return POLICY_VALUE.pack(int(deny), b"")


def unpack_value(raw: bytes) -> bool:
    """Is it a deny?"""
    deny, _ = POLICY_VALUE.unpack(raw)
    return bool(deny)
