"""cilium_lb4_affinity, cilium_lb6_affinity and cilium_lb_affinity_match: byte layouts and nothing else.

Cilium's layouts, frozen. The first has the backend that each client of a service with session affinity
had last, and is the programs' own: an LRU, whose entries are dropped when they are found too old; the
second is the same for IPv6. The third says which backends a service may still keep clients at, and is
the agent's. It is for both families: their backends' ids differ.
"""

from dataclasses import dataclass

from bpf import address
from bpf.address import Family
from bpf.layout import LB4_AFFINITY_KEY, LB4_AFFINITY_VALUE, LB_AFFINITY_MATCH_KEY, LB_AFFINITY_MATCH_VALUE
from bpf.layout6 import LB6_AFFINITY_KEY

MATCH = LB_AFFINITY_MATCH_VALUE.pack(0)


@dataclass(frozen=True, slots=True)
class Client:
    """`cookie`: of the client's network namespace; 0 for one outside, which has an `address`. `last_used`:
    seconds of the monotonic clock."""

    cookie: int
    rev_nat: int
    backend_id: int
    last_used: int
    address: str = ""


def pack_match(backend_id: int, rev_nat: int) -> bytes:
    return LB_AFFINITY_MATCH_KEY.pack(backend_id, rev_nat.to_bytes(2, "big"), 0)


def unpack_match(raw: bytes) -> tuple[int, int]:
    """Backend's id and reverse NAT id."""
    backend_id, rev_nat, _ = LB_AFFINITY_MATCH_KEY.unpack(raw)
    return int(backend_id), int.from_bytes(rev_nat, "big")


def pack_client(client: Client, family: Family = Family.IPV4) -> tuple[bytes, bytes]:
    """A key and its value. `family`: of the frontend, as a client has none."""
    rev_nat, value = client.rev_nat.to_bytes(2, "big"), (client.last_used, client.backend_id, 0)
    if family is Family.IPV6:
        key = LB6_AFFINITY_KEY.pack(client.cookie, 0, rev_nat, 1, 0, 0)
    elif client.address:
        number = int.from_bytes(address.pack(client.address), "little")  # as it lies in memory
        key = LB4_AFFINITY_KEY.pack(number, rev_nat, 0, 0, 0)
    else:
        key = LB4_AFFINITY_KEY.pack(client.cookie, rev_nat, 1, 0, 0)
    return key, LB4_AFFINITY_VALUE.pack(*value)


def unpack_client(key: bytes, value: bytes) -> Client:
    if len(key) == LB6_AFFINITY_KEY.size:
        number, _, rev_nat, is_cookie, _, _ = LB6_AFFINITY_KEY.unpack(key)
    else:
        number, rev_nat, is_cookie, _, _ = LB4_AFFINITY_KEY.unpack(key)
    last_used, backend_id, _ = LB4_AFFINITY_VALUE.unpack(value)
    cookie, ip = (number, "") if is_cookie else (0, address.text(number.to_bytes(4, "little")))
    return Client(cookie, int.from_bytes(rev_nat, "big"), backend_id, last_used, ip)
