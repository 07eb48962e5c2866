"""Which clients outside a service is for. Pure.

What `cilium_lb4_source_range` holds, by reverse NAT id.
"""

from collections.abc import Container, Iterable

from bpf import source_range_map
from bpf.lb_steps import Writes


class Ranges:
    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        self._held: dict[int, set[bytes]] = {}
        for key in keys:
            self._held.setdefault(source_range_map.unpack_key(key).rev_nat, set()).add(key)

    def __len__(self) -> int:
        return sum(len(keys) for keys in list(self._held.values()))

    def replace(self, rev_nat: int, networks: Iterable[str], writes: Writes) -> None:
        """The service's clients become those of `networks`."""
        held = self._held.pop(rev_nat, set())
        wanted = {source_range_map.pack_key(rev_nat, network) for network in networks}
        if wanted:
            self._held[rev_nat] = wanted
        writes.ranges += [(key, source_range_map.RANGE) for key in sorted(wanted - held)]
        writes.old_ranges += sorted(held - wanted)

    def prune(self, used: Container[int], writes: Writes) -> None:
        """Remove those of services that are no more."""
        for rev_nat in [rev_nat for rev_nat in self._held if rev_nat not in used]:
            self.replace(rev_nat, (), writes)
