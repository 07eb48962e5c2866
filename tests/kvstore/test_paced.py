"""Requests come at a bounded rate; what must not wait does not."""

from __future__ import annotations

import asyncio

from aiokit.tokenbucket import TokenBucket
from kvstore.backend import PutOp
from kvstore.memory import MemoryBackend
from kvstore.paced import PacedBackend
from kvstore.watch import Listed
from tests import virtual


def test_reads_and_writes_share_the_rate() -> None:
    async def crowd() -> float:
        store = MemoryBackend()
        paced = PacedBackend(store, TokenBucket(2.0, 1).turn)
        async with asyncio.TaskGroup() as group:
            group.create_task(paced.put(b"a", b"1"), name="put")
            group.create_task(paced.txn([PutOp(b"b", b"1")]), name="txn")
            group.create_task(paced.get(b"a"), name="get")
            group.create_task(paced.get_prefix(b"a"), name="list")
            group.create_task(paced.delete(b"b"), name="delete")
        assert store.entries == {b"a": b"1"}
        return virtual.now()

    assert virtual.run(crowd()) == 2.0


def test_watches_and_kept_leases_do_not_wait() -> None:
    async def crowd() -> float:
        paced = PacedBackend(MemoryBackend(), TokenBucket(0.001, 1).turn)
        lease = await paced.lease_grant(900)
        assert await paced.lease_keepalive(lease) > 0
        async with paced.listwatch(b"") as events:
            events_seen = [await anext(events), await anext(events)]
        assert isinstance(events_seen[-1], Listed)
        return virtual.now()

    assert virtual.run(crowd()) == 0.0
