"""Which backends a service with session affinity may keep its clients at. Pure.

What `cilium_lb_affinity_match` holds, by reverse NAT id. A backend that a service loses is taken out, so
that its clients choose again, although another service may still use it.
"""

from collections.abc import Container, Iterable

from bpf import affinity_map
from bpf.lb_owned import Owned
from bpf.lb_steps import Writes


class Matches(Owned[int]):
    """`numbers`: ids of the backends that count; others are the other family's."""

    def __init__(self, keys: Iterable[bytes] = (), numbers: Container[int] = range(1 << 32)) -> None:
        super().__init__()
        for key in keys:
            backend_id, rev_nat = affinity_map.unpack_match(key)
            if backend_id in numbers:
                self._held.setdefault(rev_nat, set()).add(backend_id)

    def replace(self, rev_nat: int, ids: Iterable[int], writes: Writes) -> None:
        """The service's backends become `ids`."""
        held, wanted = self._held.pop(rev_nat, set()), set(ids)
        if wanted:
            self._held[rev_nat] = wanted
        writes.matches += [(key, affinity_map.MATCH) for key in _keys(rev_nat, wanted - held)]
        writes.old_matches += _keys(rev_nat, held - wanted)


def _keys(rev_nat: int, ids: Iterable[int]) -> list[bytes]:
    return [affinity_map.pack_match(backend_id, rev_nat) for backend_id in sorted(ids)]
