"""cilium_lb4_services_v2, _backends_v3 and _reverse_nat, and those of lb6: byte layouts and nothing else.

Cilium's layouts, frozen. A text decides the family of what is packed, the length that of bytes. In the
services map slot 0 is the master entry, whose `count` says how many slots follow; each slot names a backend
by id. What to write in which order is decided in `lb_plan.py` and `lb_steps.py`.

Where clusters have shares, a slot names a *group* instead: the list of one cluster's
backends, which stands under the same address and port in a scope of its own. Cilium
has no such slots, and leaves `qcount` unused in them.

A service with session affinity says so in its master's flags, and how long a client
keeps its backend where other entries have a backend's id. Beside that stands, where the
service says it, how backends are chosen (0: as the node does it, 1 at random, 2 Maglev).
"""

from dataclasses import dataclass

from bpf import address
from bpf.address import V4_BYTES, Family
from bpf.layout import (
    LB4_BACKEND_KEY,
    LB4_BACKEND_VALUE,
    LB4_REVERSE_NAT_KEY,
    LB4_REVERSE_NAT_VALUE,
    LB4_SERVICE_KEY,
    LB4_SERVICE_VALUE,
)
from bpf.layout6 import LB6_BACKEND_VALUE, LB6_REVERSE_NAT_VALUE, LB6_SERVICE_KEY

PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}

SCOPE_EXTERNAL = 0
SCOPE_OUTSIDE = 1  # what clients outside get, where others get something else; Cilium has those others here
GROUP_SCOPES = range(2, 256)

# of a master entry; both flag bytes, low one first
FLAG_EXTERNAL_IP = 1 << 0
FLAG_NODE_PORT = 1 << 1
FLAG_EXTERNAL_LOCAL = 1 << 2  # clients from outside reach this node's own backends only
FLAG_SESSION_AFFINITY = 1 << 4
FLAG_LOAD_BALANCER = 1 << 5
FLAG_ROUTABLE = 1 << 6  # from outside of the cluster
FLAG_SOURCE_RANGES = 1 << 7  # only for clients of some networks (source_range_map.py)
FLAG_DELEGATE_IF_LOCAL = 1 << 11  # a process of the node may be the backend, at this very port
FLAG_INTERNAL_LOCAL = 1 << 12
FLAG_TWO_SCOPES = 1 << 13  # clients outside get what SCOPE_OUTSIDE says
FLAG_SOURCE_RANGES_DENY = 1 << 14  # with the other one: for all clients but those of the networks
FLAGS_OUTSIDE = FLAG_EXTERNAL_IP | FLAG_NODE_PORT | FLAG_LOAD_BALANCER  # any of them: serves clients outside
MAX_STICKY = 0xFFFFFF  # seconds, of a field whose last byte is the algorithm
_ALGORITHM, _BOTH_FLAGS = 16, 0xFFFF  # the algorithm follows the flag bytes, where a master is told and read

BACKEND_ACTIVE, BACKEND_TERMINATING, BACKEND_QUARANTINED, BACKEND_MAINTENANCE = range(4)

# counted from a key's end, where they are the same in both families
_SLOT, _SCOPE = (LB4_SERVICE_KEY.offsets[f][0] - LB4_SERVICE_KEY.size for f in ("backend_slot", "scope"))


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


def _big(number: int) -> bytes:
    try:
        return number.to_bytes(2, "big")
    except OverflowError:
        raise ValueError(f"does not fit into 16 bits: {number}") from None


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def pack_service(ip: str, port: int, protocol: str, slot: int = 0, scope: int = SCOPE_EXTERNAL) -> bytes:
    """A key of the services map."""
    packed = address.pack(ip)
    layout = LB4_SERVICE_KEY if len(packed) == V4_BYTES else LB6_SERVICE_KEY
    return layout.pack(packed, _big(port), slot, protocol_number(protocol), scope, b"")


def unpack_service(raw: bytes) -> ServiceKey:
    layout = LB4_SERVICE_KEY if len(raw) == LB4_SERVICE_KEY.size else LB6_SERVICE_KEY
    packed, port, slot, protocol, scope, _ = layout.unpack(raw)
    name = PROTOCOL_NAMES.get(protocol, str(protocol))
    return ServiceKey(address.text(packed), _number(port), name, slot, scope)


def with_slot(key: bytes, slot: int) -> bytes:
    """The same service's key at another slot."""
    return key[:_SLOT] + slot.to_bytes(2, "little") + key[_SLOT + 2 :]


def with_scope(key: bytes, scope: int) -> bytes:
    """The same service's master entry in another scope."""
    return with_slot(key[:_SCOPE] + scope.to_bytes(1, "little") + key[_SCOPE + 1 :], 0)


def scope_of(key: bytes) -> int:
    return key[_SCOPE]


def pack_service_value(
    backend_id: int = 0, count: int = 0, rev_nat: int = 0, flags: int = 0, group: int = 0
) -> bytes:
    """Master: `count` and no backend. Slot: a backend's id, or a group's scope.

    `flags` has both flag bytes, low one first.
    """
    return LB4_SERVICE_VALUE.pack(backend_id, count, _big(rev_nat), flags & 0xFF, flags >> 8, group)


def pack_master(count: int, rev_nat: int, sticky: int = 0, flags: int = 0) -> bytes:
    """The value of a master entry; `sticky` in seconds, 0 without session affinity. `flags`: the others, and
    the algorithm (`with_algorithm`)."""
    if not 0 <= sticky <= MAX_STICKY:
        raise ValueError(f"no session affinity lasts {sticky} seconds")
    said = flags & _BOTH_FLAGS | (FLAG_SESSION_AFFINITY if sticky else 0)
    return pack_service_value(flags >> _ALGORITHM << 24 | sticky, count, rev_nat, said)


def with_algorithm(algorithm: int) -> int:
    """To be added to a master entry's flags."""
    return algorithm << _ALGORITHM


def algorithm_of(flags: int) -> int:
    return flags >> _ALGORITHM


def master_flags(raw: bytes) -> int:
    """Of a master entry: its flags with its algorithm; session affinity is said by its seconds."""
    field, _, _, low, high, _ = LB4_SERVICE_VALUE.unpack(raw)
    flags: int = (low | high << 8) & ~FLAG_SESSION_AFFINITY
    return flags | with_algorithm(field >> 24)


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
    packed = address.pack(ip)
    layout = LB4_BACKEND_VALUE if len(packed) == V4_BYTES else LB6_BACKEND_VALUE
    return layout.pack(packed, _big(port), protocol_number(protocol), state, cluster_id, 0, 0)


def unpack_backend(raw: bytes) -> BackendValue:
    layout = LB4_BACKEND_VALUE if len(raw) == LB4_BACKEND_VALUE.size else LB6_BACKEND_VALUE
    packed, port, protocol, state, cluster_id, _, _ = layout.unpack(raw)
    name = PROTOCOL_NAMES.get(protocol, str(protocol))
    return BackendValue(address.text(packed), _number(port), name, cluster_id, state)


def backend_family(raw: bytes) -> Family:
    """Of a value of the backends map."""
    return Family.IPV4 if len(raw) == LB4_BACKEND_VALUE.size else Family.IPV6


def pack_rev_nat_id(rev_nat: int) -> bytes:
    return LB4_REVERSE_NAT_KEY.pack(_big(rev_nat))


def unpack_rev_nat_id(raw: bytes) -> int:
    (rev_nat,) = LB4_REVERSE_NAT_KEY.unpack(raw)
    return _number(rev_nat)


def pack_rev_nat(ip: str, port: int) -> bytes:
    """A value of the reverse NAT map: the frontend."""
    packed = address.pack(ip)
    layout = LB4_REVERSE_NAT_VALUE if len(packed) == V4_BYTES else LB6_REVERSE_NAT_VALUE
    return layout.pack(packed, _big(port))


def unpack_rev_nat(raw: bytes) -> tuple[str, int]:
    layout = LB4_REVERSE_NAT_VALUE if len(raw) == LB4_REVERSE_NAT_VALUE.size else LB6_REVERSE_NAT_VALUE
    packed, port = layout.unpack(raw)
    return address.text(packed), _number(port)
