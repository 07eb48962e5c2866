"""A consumer that follows a prefix in a task, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from aiokit.backoff import Backoff
from kvstore.backend import Readable
from kvstore.watch import Holding, Whole
from kvstore.watchstore import follow


class Mirror:
    """Applies deltas; removing what it does not have fails."""

    def __init__(self, entries: Mapping[bytes, bytes] | None = None) -> None:
        self.entries = dict(entries or {})
        self.synced = 0
        self.applied = 0

    async def run(self, backend: Readable, prefix: bytes, *, reads_back: bool = False) -> None:
        held: Callable[[], Holding] | None = (lambda: Whole(self.entries)) if reads_back else None
        async for delta in follow(backend, prefix, held=held, backoff=Backoff(0.01, 0.1)):
            self.entries.update(delta.upserts)
            for key in delta.removes:
                del self.entries[key]
            self.synced += delta.synced
            self.applied += len(delta.upserts) + len(delta.removes)


@asynccontextmanager
async def mirroring(
    backend: Readable, prefix: bytes, mirror: Mirror | None = None, *, reads_back: bool = False
) -> AsyncIterator[Mirror]:
    mirror = mirror or Mirror()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(mirror.run(backend, prefix, reads_back=reads_back), name="mirror")
        try:
            yield mirror
        finally:
            task.cancel()
