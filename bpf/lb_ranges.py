"""Which clients outside a service is for. Pure.

What one family's `cilium_lb*_source_range` holds, by reverse NAT id.
"""

from collections.abc import Iterable

from bpf import source_range_map
from bpf.lb_owned import Owned
from bpf.lb_steps import Writes


class Ranges(Owned[bytes]):
    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        super().__init__()
        for key in keys:
            self._held.setdefault(source_range_map.unpack_key(key).rev_nat, set()).add(key)

    def replace(self, rev_nat: int, networks: Iterable[str], writes: Writes) -> None:
        """The service's clients become those of `networks`."""
        held = self._held.pop(rev_nat, set())
        wanted = {source_range_map.pack_key(rev_nat, network) for network in networks}
        if wanted:
            self._held[rev_nat] = wanted
        writes.ranges += [(key, source_range_map.RANGE) for key in sorted(wanted - held)]
        writes.old_ranges += sorted(held - wanted)
