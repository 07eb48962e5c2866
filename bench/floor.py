"""Floors that several benchmarks have in common."""

from __future__ import annotations

import time
from pathlib import Path

from bench.cluster import Pair
from bench.generate import write
from bench.store import running_store
from kvstore import messages as m
from kvstore.methods import LEASE_GRANT

LEASE_SECONDS = 900


async def leased_write_seconds(folder: Path, pairs: list[Pair]) -> float:
    """These keys into an empty etcd under one lease, by transactions of a hundred: as fast as it can."""
    place = folder / "floor"
    place.mkdir()
    write_lease, read_lease = LEASE_GRANT.request.SerializeToString, LEASE_GRANT.response.FromString
    async with running_store(place) as store:
        grant = store.channel.unary_unary(LEASE_GRANT.path, write_lease, read_lease)
        lease = (await grant(m.LeaseGrantRequest(TTL=LEASE_SECONDS))).ID
        begun = time.monotonic()
        await write(store.channel, pairs, lease=lease)
        return time.monotonic() - begun
