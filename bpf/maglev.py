"""Consistent hashing: which backend a hash leads to (Maglev, NSDI 2016, section 3.4). Pure.

A table depends on nothing but the backends and their weights, so every node of every cluster that has the
same ones makes the same table, in whatever order it came to know them. When a backend goes, the others keep
nearly all of their slots: a connection that meets another node finds its backend again.
"""

from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b

from bpf import lb_map

SIZES = (251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071)  # primes, as Cilium offers them
DEFAULT_SIZE = 16381
REMEMBERED = 64  # tables: a service's ports and places often have the same backends

Weights = Mapping[bytes, int]  # packed backends (lb_map.pack_backend), each with a weight above 0


def table(backends: Weights, size: int) -> tuple[bytes, ...]:
    """The backend of each of `size` slots; empty without backends. `size` is a prime of SIZES.

    Of n backends with weights w each gets size * w / sum(w) slots, give or take 2 + n * w / sum(w).
    """
    return _table(tuple(sorted(backends.items(), key=_name_first)), size)


def _name_first(item: tuple[bytes, int]) -> tuple[str, int, bytes]:
    return _name(item[0]), item[1], item[0]


@lru_cache(maxsize=REMEMBERED)
def _table(backends: tuple[tuple[bytes, int], ...], size: int) -> tuple[bytes, ...]:
    if not backends:
        return ()
    slots: list[bytes | None] = [None] * size
    left = size
    heaviest = max(weight for _, weight in backends)
    credit = [0] * len(backends)
    places = [_place(value, size) for value, _ in backends]
    while True:
        for number, (value, weight) in enumerate(backends):
            credit[number] += weight
            if credit[number] < heaviest:
                continue  # the light ones sit out rounds
            credit[number] -= heaviest
            at, step = places[number]
            while slots[at] is not None:
                at = (at + step) % size
            slots[at] = value
            places[number] = (at + step) % size, step
            left -= 1
            if not left:
                return tuple(slot for slot in slots if slot is not None)


def _name(value: bytes) -> str:
    """Not the cluster, which is 0 at home and a number elsewhere, nor the state."""
    backend = lb_map.unpack_backend(value)
    return f"{backend.ip}:{backend.port}/{backend.protocol}"


@lru_cache(maxsize=131_072)
def _place(value: bytes, size: int) -> tuple[int, int]:
    """Where a backend's preferences begin, and how they go on: through every slot, as `size` is a prime."""
    digest = blake2b(_name(value).encode(), digest_size=16, person=b"maglev").digest()
    offset, skip = int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")
    return offset % size, skip % (size - 1) + 1
