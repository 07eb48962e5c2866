"""The reverse NAT ids of one family's frontends. Pure.

Ids are recovered from the map: a frontend keeps its id. Both lists of one address and port, for clients
inside and outside, have ids of their own.
"""

from collections.abc import Container, Mapping
from itertools import chain

from bpf import lb_map
from bpf.errors import MapFullError
from bpf.lb_steps import Writes

MAX_REV_NAT = 0xFFFF


class ReverseNat:
    """`entries`: the map as it stands."""

    def __init__(self, entries: Mapping[bytes, bytes]) -> None:
        self._frontends = {lb_map.unpack_rev_nat_id(key): value for key, value in entries.items()}
        self._next = 1

    def __len__(self) -> int:
        return len(self._frontends)

    def occupy(self, number: int) -> None:
        """A master entry has this id: it is taken, though the map may lack it."""
        self._frontends.setdefault(number, b"")

    def id_of(self, key: bytes, held: int, writes: Writes) -> int:
        """Of the service whose master entry has this key and says `held` (0: it has no such entry)."""
        frontend = _frontend(key)
        if held and self._frontends.get(held) == frontend:
            return held
        # the map does not confirm the old one: it may be another frontend's by now
        numbers = chain(range(self._next, MAX_REV_NAT + 1), range(1, self._next))
        number = next((n for n in numbers if n not in self._frontends), 0)
        if not number:
            raise MapFullError(f"all {MAX_REV_NAT} reverse NAT ids are in use")
        self._next = number + 1
        self._frontends[number] = frontend
        writes.rev_nats.append((lb_map.pack_rev_nat_id(number), frontend))
        return number

    def release(self, key: bytes, number: int, writes: Writes) -> bool:
        """The service is no more. False where the id is another frontend's."""
        if self._frontends.get(number) != _frontend(key):
            return False
        self._remove(number, writes)
        return True

    def prune(self, used: Container[int], writes: Writes) -> None:
        for number in [number for number in self._frontends if number not in used]:
            self._remove(number, writes)

    def _remove(self, number: int, writes: Writes) -> None:
        del self._frontends[number]
        writes.old_rev_nats.append(lb_map.pack_rev_nat_id(number))


def _frontend(key: bytes) -> bytes:
    service = lb_map.unpack_service(key)
    return lb_map.pack_rev_nat(service.ip, service.port)
