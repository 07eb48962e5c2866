"""How a kernel map differs from what is wanted of it. Pure: values, and how they are told.

A difference is shown as `bpf ... list` shows the entry (agent/mapdump.py); bytes that mean nothing to us are
shown in hexadecimal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from heapq import nsmallest  # not sorted(): that keeps the interpreter to itself until it has sorted all
from typing import Any, NamedTuple

MAX_SHOWN = 1000  # entries of one sort that an answer lists; the counts are always whole

Render = Callable[[Mapping[bytes, bytes]], list[dict[str, Any]]]  # a map's entries in words


class Pair(NamedTuple):
    """One entry's value as it is wanted and as the kernel has it; None where there is no entry."""

    wanted: bytes | None
    held: bytes | None


@dataclass(frozen=True, slots=True)
class MapState:
    """One map at one moment. `moving` entries changed just now: the kernel may not have them yet."""

    name: str
    wanted: int
    held: int
    differing: Mapping[bytes, Pair] = field(default_factory=dict)
    moving: frozenset[bytes] = frozenset()
    unfit: Mapping[str, str] = field(default_factory=dict)  # what the map's layout cannot say -> why

    @property
    def is_equal(self) -> bool:
        return not self.differing

    @property
    def is_settled(self) -> bool:
        return not self.moving


def as_object(state: MapState, render: Render) -> dict[str, Any]:
    """For the API: entries by sort, each list cut at MAX_SHOWN."""
    sorts: dict[str, list[bytes]] = {"missing": [], "extra": [], "different": []}
    for key, pair in state.differing.items():
        sorts[_sort(pair)].append(key)
    shown = {
        sort: [_entry(key, state.differing[key], render) for key in nsmallest(MAX_SHOWN, keys)]
        for sort, keys in sorts.items()
    }
    return {
        "name": state.name,
        "wanted": state.wanted,
        "entries": state.held,
        **shown,
        "counts": {sort: len(keys) for sort, keys in sorts.items()},
        "moving": len(state.moving),
        "unfit": [{"key": key, "reason": why} for key, why in nsmallest(MAX_SHOWN, state.unfit.items())],
    }


def _sort(pair: Pair) -> str:
    if pair.held is None:
        return "missing"
    return "extra" if pair.wanted is None else "different"


def _entry(key: bytes, pair: Pair, render: Render) -> dict[str, str]:
    """`value` is the kernel's, or the wanted one where the kernel has none."""
    name, held = _words(key, pair.held, render)
    _, wanted = _words(key, pair.wanted, render)
    if pair.held is None:
        return {"key": _words(key, pair.wanted, render)[0], "value": wanted}
    if pair.wanted is None:
        return {"key": name, "value": held}
    if wanted == held:  # in a part that has no words
        wanted, held = pair.wanted.hex(), pair.held.hex()
    return {"key": name, "wanted": wanted, "value": held}


def _words(key: bytes, value: bytes | None, render: Render) -> tuple[str, str]:
    if value is None:
        return key.hex(), ""
    try:
        (shown,) = render({key: value})
    except (ValueError, LookupError):
        return key.hex(), value.hex()
    return str(shown["key"]), str(shown["value"])
