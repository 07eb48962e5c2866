"""When a peer's removals are believed only after a look at what its writer keeps beside them. Pure.

A writer that hangs or does not come up again loses its leases, and its etcd then deletes all that it wrote:
in the watch that looks like a cluster that has removed every pod. But its description and its canaries go
the same way, which nobody removes who removes pods. So whoever takes much away, or the last of a kind, and
was not seen writing lately, is looked at first: a peer that is gone keeps its entries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

MANY = 8  # a lease has up to 1,000 keys, which go at once; fewer pods than these go in every update
ALIVE_SECONDS = (
    15.0  # the shortest lease, 25 s, is refreshed every third of it and outlives its writer by 16 s
)


def is_doubtful(removes: Collection[bytes], held: Iterable[bytes], unheard: float) -> bool:
    """`held`: the keys of the kind; `unheard`: seconds since the writer was last seen writing.

    A look costs a round trip, for each reader: not where somebody writes all the time.
    """
    if unheard <= ALIVE_SECONDS:
        return False
    going = frozenset(removes)
    return len(going) >= MANY or all(key in going for key in held)
