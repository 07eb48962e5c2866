"""A peer under test: real tables, an etcd in memory, times short enough to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from agent.ipcache import IPCacheEntry
from agent.peerstate import PeerState
from agent.tables import Tables
from kvstore.backend import Readable
from kvstore.config import EtcdConfig
from kvstore.memory import MemoryBackend
from peering.clusterids import ClusterIDs
from peering.peer import Connector, Peer
from peering.times import PeerTimes
from tests.agent.peerdata import FILE
from tests.agent.values import EAST

FAST = PeerTimes(
    connect=5.0,
    config=0.5,
    config_retry=0.01,
    config_retry_cap=0.02,
    silence=0.4,
    heartbeat_check=0.05,
    heartbeat_check_failing=0.05,
    retry_step=0.01,
    retry_cap=0.02,
    stream_retry=0.01,
    stream_retry_cap=0.02,
)
PATIENT = PeerTimes(**{**{f: getattr(FAST, f) for f in FAST.__dataclass_fields__}, "silence": 60.0})


class Connections:
    """A connector to an in-memory etcd that counts, and keeps, its clients."""

    def __init__(self, store: MemoryBackend) -> None:
        self.store = store
        self.clients: list[MemoryBackend] = []
        self.open = 0

    @asynccontextmanager
    async def __call__(self, config: EtcdConfig) -> AsyncIterator[Readable]:
        client = self.store.another_client()
        self.clients.append(client)
        self.open += 1
        try:
            yield client
        finally:
            self.open -= 1


class Peering:
    """One peer with all that it needs; `entries` is what it makes us want."""

    def __init__(
        self,
        store: MemoryBackend,
        tables: Tables,
        *,
        name: str = "west",
        ids: ClusterIDs | None = None,
        times: PeerTimes = PATIENT,
        connect: Connector | None = None,
    ) -> None:
        self.tables = tables
        self.connections = Connections(store)
        self.state = PeerState(name, tables)
        self.peer = Peer(
            name,
            sink=self.state,
            connect=connect or self.connections,
            ids=ids or ClusterIDs(hold_down=0.0),
            local=EAST,
            times=times,
        )

    @property
    def entries(self) -> dict[str, IPCacheEntry]:
        return dict(self.tables.ipcache.wanted.entries)

    @property
    def is_ready(self) -> bool:
        return self.peer.status().is_ready

    @asynccontextmanager
    async def running(self, content: bytes = FILE) -> AsyncGenerator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.peer.run(content), name="peer under test")
            yield
            task.cancel()
