"""One cluster's writer: the real exporter's parts over a simulated network, fed by a scripted source."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from clustermesh_apiserver.publisher import Publisher
from clustermesh_apiserver.serve import running
from mesh.addressing import ClusterID, ClusterName, PeerScope
from tests.simulation.network import SimStore, Wire
from tests.simulation.source import LAYOUT, ClusterSource

LEASE_SECONDS = 900
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def virtual_now() -> datetime:
    return _EPOCH + timedelta(seconds=asyncio.get_running_loop().time())


class Writer:
    """Lives, dies and lives again: what it knows goes with its life, what it stored stays."""

    def __init__(self, source: ClusterSource, store: SimStore, wire: Wire) -> None:
        self.source = source
        self.store = store
        self.wire = wire
        self._life: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self._life is not None

    def start(self, group: asyncio.TaskGroup) -> None:
        self._life = group.create_task(self._live(), name=f"writer/{self.source.name}")

    async def stop(self) -> None:
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait([self._life])
            self._life = None

    async def _live(self) -> None:
        source = self.source
        scope = PeerScope(ClusterName(source.name), ClusterID(source.id), LAYOUT)
        exporters = source.exporters()
        loop = asyncio.get_running_loop()
        publisher = Publisher(
            self.wire.connect,
            scope,
            exporters,
            lease_ttl_seconds=LEASE_SECONDS,
            clock=loop.time,
            now=virtual_now,
        )
        async with running(publisher, exporters):
            await asyncio.Event().wait()
