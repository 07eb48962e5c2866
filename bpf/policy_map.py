"""cilium_policy: who may talk to (or be talked to by) an endpoint.

The byte layout and nothing else. Unlike Cilium, which has one LPM map per endpoint,
one hash serves all endpoints of the node: the program asks for the exact entry and
then for the wider ones. Zero means "any": in the identity, in the port, or in port and
protocol together. A deny of any width beats every allow.
"""

from dataclasses import dataclass
from enum import IntEnum

from bpf.layout import POLICY_KEY, POLICY_VALUE


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


def pack_key(
    endpoint_id: int,
    identity: int = 0,
    port: int = 0,
    protocol: int = 0,
    direction: Direction = Direction.INGRESS,
) -> bytes:
    """ValueError for a port without a protocol: the program never asks for such an entry."""
    if port and not protocol:
        raise ValueError("a policy entry with a port needs a protocol")
    return POLICY_KEY.pack(identity, endpoint_id, port.to_bytes(2, "big"), protocol, direction, 0)


def unpack_key(raw: bytes) -> PolicyKey:
    identity, endpoint_id, port, protocol, direction, _ = POLICY_KEY.unpack(raw)
    return PolicyKey(endpoint_id, identity, int.from_bytes(port, "big"), protocol, Direction(direction))


def pack_value(*, deny: bool = False) -> bytes:
    return POLICY_VALUE.pack(int(deny), b"")


def unpack_value(raw: bytes) -> bool:
    """Is it a deny?"""
    deny, _ = POLICY_VALUE.unpack(raw)
    return bool(deny)
