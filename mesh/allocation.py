"""Numbers to try for a label set: the same for whoever asks, so that two who want one find each other."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from mesh.addressing import Identity, PeerScope

MAX_TRIES = 1024  # candidates tried: with a range half full, more than ten are needed once in a thousand


def candidates(scope: PeerScope, text: str) -> Iterator[Identity]:
    """A start that the label set's text decides, then one after another, within the cluster's range."""
    low = scope.layout.minimum(scope.cluster_id)
    size = scope.layout.maximum(scope.cluster_id) - low + 1
    start = int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) % size
    for step in range(min(size, MAX_TRIES)):
        yield Identity(low + (start + step) % size)
