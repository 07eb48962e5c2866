"""One short number for many entries, so that two who hold them can tell whether they agree. Pure.

The exclusive or of a hash of each entry: the same for the same entries in whatever order they came, and kept
up by toggling what comes and goes. Keys are relative to the prefix of their kind, so that a cluster's own
state and every copy of it, which stand under different prefixes, have the same digest.

Wire freeze: agents, exporter and KVStoreMesh of different versions compare these texts. It guards against
mistakes, not against somebody who makes two sets collide on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b


def fingerprint(key: bytes, value: bytes) -> int:
    """The hash of one entry: 64 bits."""
    return int.from_bytes(blake2b(b"%b\0%b" % (key, value), digest_size=8).digest())


class Digest:
    """Begins as that of no entries."""

    def __init__(self) -> None:
        self._sum = 0

    def toggle(self, key: bytes, value: bytes) -> None:
        """The entry came, if it was not there; it went, if it was."""
        self._sum ^= fingerprint(key, value)

    def toggle_print(self, number: int) -> None:
        """The same for an entry, or for several by exclusive or, of which only the fingerprint is at hand."""
        self._sum ^= number

    def __str__(self) -> str:
        return f"{self._sum:016x}"


def digest(entries: Mapping[bytes, bytes]) -> str:
    """Of all entries at once."""
    found = Digest()
    for key, value in entries.items():
        found.toggle(key, value)
    return str(found)
