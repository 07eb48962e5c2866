"""Who learns of whom, in each connection mode. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

UNICAST, BIDIRECTIONAL, MESH = MODES = ("unicast", "bidirectional", "mesh")


@dataclass(frozen=True, slots=True)
class Link:
    """`reader`'s agents follow `peer`'s state."""

    reader: str
    peer: str


def links(mode: str, local: str, remotes: Sequence[str]) -> list[Link]:
    """Unicast: we learn of them. Bidirectional: they of us too. Mesh: all of all."""
    if mode == MESH:
        return [Link(*pair) for pair in permutations([local, *remotes], 2)]
    ours = [Link(local, remote) for remote in remotes]
    if mode == UNICAST:
        return ours
    return [*ours, *(Link(remote, local) for remote in remotes)]
