"""cilium_lb4_services_v2, _backends_v3 and _reverse_nat: byte layouts and nothing else.

Cilium's layouts, frozen. In the services map slot 0 is the master entry, whose `count`
says how many slots follow; each slot names a backend by id. What to write in which
order is decided in `lb_plan.py`.

Where clusters have shares, a slot names a *group* instead: the list of one cluster's
backends, which stands under the same address and port in a scope of its own. Cilium
has no such slots, and leaves `qcount` unused in them.

A service with session affinity says so in its master's flags, and how long a client
keeps its backend where other entries have a backend's id.
"""

import socket
from dataclasses import dataclass

from bpf.layout import (
    LB4_BACKEND_KEY,
    LB4_BACKEND_VALUE,
    LB4_REVERSE_NAT_KEY,
    LB4_REVERSE_NAT_VALUE,
    LB4_SERVICE_KEY,
    LB4_SERVICE_VALUE,
)

PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}

SCOPE_EXTERNAL, SCOPE_INTERNAL = 0, 1
GROUP_SCOPES = range(2, 256)

FLAG_SESSION_AFFINITY = 1 << 4
MAX_STICKY = 0xFFFFFF  # seconds; Cilium uses the rest of the field otherwise

BACKEND_ACTIVE, BACKEND_TERMINATING, BACKEND_QUARANTINED, BACKEND_MAINTENANCE = range(4)


@dataclass(frozen=True, slots=True)
class ServiceKey:
    ip: str
    port: int
    protocol: str
    slot: int = 0
    scope: int = SCOPE_EXTERNAL


@dataclass(frozen=True, slots=True)
class ServiceValue:
    backend_id: int = 0
    count: int = 0
    rev_nat: int = 0
    flags: int = 0
    group: int = 0  # in a slot: the scope of the group that it names, instead of a backend
    sticky: int = 0  # in a master: seconds that a client keeps its backend


@dataclass(frozen=True, slots=True)
class BackendValue:
    ip: str
    port: int
    protocol: str
    cluster_id: int = 0
    state: int = BACKEND_ACTIVE


def protocol_number(name: str) -> int:
    try:
        return PROTOCOLS[name.upper()]
    except KeyError:
        raise ValueError(f"no such protocol: {name!r}") from None


def _address(ip: str) -> bytes:
    try:
        return socket.inet_pton(socket.AF_INET, ip)
    except OSError as error:
        raise ValueError(f"not an IPv4 address: {ip!r}") from error


def _big(number: int) -> bytes:
    try:
        return number.to_bytes(2, "big")
    except OverflowError:
        raise ValueError(f"does not fit into 16 bits: {number}") from None


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def pack_service(ip: str, port: int, protocol: str, slot: int = 0, scope: int = SCOPE_EXTERNAL) -> bytes:
    """A key of the services map."""
    return LB4_SERVICE_KEY.pack(_address(ip), _big(port), slot, protocol_number(protocol), scope, b"")


def unpack_service(raw: bytes) -> ServiceKey:
    address, port, slot, protocol, scope, _ = LB4_SERVICE_KEY.unpack(raw)
    name = PROTOCOL_NAMES.get(protocol, str(protocol))
    return ServiceKey(socket.inet_ntoa(address), _number(port), name, slot, scope)


def with_slot(key: bytes, slot: int) -> bytes:
    """The same service's key at another slot."""
    at, size = LB4_SERVICE_KEY.offsets["backend_slot"]
    return key[:at] + slot.to_bytes(size, "little") + key[at + size :]


def with_scope(key: bytes, scope: int) -> bytes:
    """The same service's master entry in another scope."""
    at, size = LB4_SERVICE_KEY.offsets["scope"]
    return with_slot(key[:at] + scope.to_bytes(size, "little") + key[at + size :], 0)


def scope_of(key: bytes) -> int:
    at, size = LB4_SERVICE_KEY.offsets["scope"]
    return int.from_bytes(key[at : at + size], "little")


def pack_service_value(
    backend_id: int = 0, count: int = 0, rev_nat: int = 0, flags: int = 0, group: int = 0
) -> bytes:
    """Master: `count` and no backend. Slot: a backend's id, or a group's scope.

    `flags` has both flag bytes, low one first.
    """
    return LB4_SERVICE_VALUE.pack(backend_id, count, _big(rev_nat), flags & 0xFF, flags >> 8, group)


def pack_master(count: int, rev_nat: int, sticky: int = 0) -> bytes:
    """The value of a master entry; `sticky` in seconds, 0 without session affinity."""
    if not 0 <= sticky <= MAX_STICKY:
        raise ValueError(f"no session affinity lasts {sticky} seconds")
    return pack_service_value(sticky, count, rev_nat, FLAG_SESSION_AFFINITY if sticky else 0)


def unpack_service_value(raw: bytes) -> ServiceValue:
    backend_id, count, rev_nat, flags, flags2, group = LB4_SERVICE_VALUE.unpack(raw)
    sticky = 0
    if flags & FLAG_SESSION_AFFINITY:
        backend_id, sticky = 0, backend_id & MAX_STICKY
    return ServiceValue(backend_id, count, _number(rev_nat), flags | flags2 << 8, group, sticky)


def pack_backend_id(backend_id: int) -> bytes:
    return LB4_BACKEND_KEY.pack(backend_id)


def unpack_backend_id(raw: bytes) -> int:
    (backend_id,) = LB4_BACKEND_KEY.unpack(raw)
    return int(backend_id)


def pack_backend(
    ip: str, port: int, protocol: str, cluster_id: int = 0, state: int = BACKEND_ACTIVE
) -> bytes:
    """A value of the backends map."""
    return LB4_BACKEND_VALUE.pack(
        _address(ip), _big(port), protocol_number(protocol), state, cluster_id, 0, 0
    )


def unpack_backend(raw: bytes) -> BackendValue:
    address, port, protocol, state, cluster_id, _, _ = LB4_BACKEND_VALUE.unpack(raw)
    name = PROTOCOL_NAMES.get(protocol, str(protocol))
    return BackendValue(socket.inet_ntoa(address), _number(port), name, cluster_id, state)


def pack_rev_nat_id(rev_nat: int) -> bytes:
    return LB4_REVERSE_NAT_KEY.pack(_big(rev_nat))


def unpack_rev_nat_id(raw: bytes) -> int:
    (rev_nat,) = LB4_REVERSE_NAT_KEY.unpack(raw)
    return _number(rev_nat)


def pack_rev_nat(ip: str, port: int) -> bytes:
    """A value of the reverse NAT map: the frontend."""
    return LB4_REVERSE_NAT_VALUE.pack(_address(ip), _big(port))


def unpack_rev_nat(raw: bytes) -> tuple[str, int]:
    address, port = LB4_REVERSE_NAT_VALUE.unpack(raw)
    return socket.inet_ntoa(address), _number(port)
