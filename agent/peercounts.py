"""How much we hold of one peer, as one frozen value that the API and the metrics read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeerCounts:
    """How much we hold of a peer, and how much we would not take.

    `outside` are addresses and services that are, now, found outside of the peer's own nodes.
    """

    nodes: int
    endpoints: int
    identities: int
    services: int
    slices: int
    outside: int
    refusals: Mapping[str, int]
    digests: Mapping[str, str]
