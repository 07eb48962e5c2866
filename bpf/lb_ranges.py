"""Which clients outside a service is for. Pure.

What `cilium_lb4_source_range` holds, by reverse NAT id.
"""

from collections.abc import Collection, Iterable

from bpf import source_range_map


class Ranges:
    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        self._held: dict[int, set[bytes]] = {}
        for key in keys:
            self._held.setdefault(source_range_map.unpack_key(key).rev_nat, set()).add(key)

    def __len__(self) -> int:
        return sum(len(keys) for keys in list(self._held.values()))

    def replace(self, rev_nat: int, networks: Iterable[str]) -> tuple[list[bytes], list[bytes]]:
        """The service's clients become those of `networks`: keys to write, and keys to remove."""
        held = self._held.pop(rev_nat, set())
        wanted = {source_range_map.pack_key(rev_nat, network) for network in networks}
        if wanted:
            self._held[rev_nat] = wanted
        return sorted(wanted - held), sorted(held - wanted)

    def prune(self, used: Collection[int]) -> list[bytes]:
        """Keys of services that are no more."""
        gone = [rev_nat for rev_nat in self._held if rev_nat not in used]
        return [key for rev_nat in gone for key in self.replace(rev_nat, ())[1]]
