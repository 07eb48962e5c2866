"""A short text that is equal for equal entries, kept up to date entry by entry. Pure.

Over keys relative to their prefix: a cluster's own entries, their copies in another store and what an agent
holds of them have the same digest. The order does not matter: entries are summed by exclusive or.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b


class Digest:
    """Of a changing set of entries. `put` and `remove` want what stood there before."""

    def __init__(self) -> None:
        self._sum = 0

    def __str__(self) -> str:
        return f"{self._sum:016x}"

    def put(self, key: bytes, old: bytes | None, new: bytes) -> None:
        if old is not None:
            self._sum ^= _hash(key, old)
        self._sum ^= _hash(key, new)

    def remove(self, key: bytes, old: bytes) -> None:
        self._sum ^= _hash(key, old)


def digest(entries: Mapping[bytes, bytes]) -> str:
    """Of all entries at once."""
    found = Digest()
    for key, value in entries.items():
        found.put(key, None, value)
    return str(found)


def _hash(key: bytes, value: bytes) -> int:
    return int.from_bytes(blake2b(b"%b\0%b" % (key, value), digest_size=8).digest())
