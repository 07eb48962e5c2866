"""Port ranges as blocks that a hash can be asked for. Pure.

A block is a port and how many of its low bits do not count. Only four sizes exist, so that the kernel asks
four times and a range costs at most 104 entries; Cilium's trie has every size.
"""

from __future__ import annotations

from collections.abc import Iterator

OPEN_BITS = (12, 8, 4, 0)  # the kernel asks for exactly these (bpf/include/policy.h)
LAST_PORT = 65535


def port_blocks(first: int, last: int) -> Iterator[tuple[int, int]]:
    """The fewest blocks that hold every port from `first` to `last`, both included."""
    while first <= last:
        bits = next(b for b in OPEN_BITS if first % (1 << b) == 0 and first + (1 << b) - 1 <= last)
        yield first, bits
        first += 1 << bits
