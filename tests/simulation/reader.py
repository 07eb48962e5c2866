"""One agent of our cluster: the real peers, tables and data path, over simulated wires into kernel maps.

Its kernel outlives it, as the real one does; so does its configuration directory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from agent.agent import Agent
from agent.datapath import Datapath
from agent.ipcache import IPCacheEntry, Level, Rank
from agent.ownslices import Slice
from agent.patience import give_up_waiting
from agent.peerstate import PeerState
from agent.tables import Tables
from bpf import ipcache_map
from bpf.lb_wanted import ALL_PLAIN, BackendLike, Master
from kvstore.backend import Readable
from kvstore.config import EtcdConfig
from kvstore.watch import Delta, Holding
from mesh.addressing import ClusterID, PeerScope
from mesh.clusterconfig import ClusterConfig
from mesh.keys import Kind
from mesh.localservice import Frontend, LocalBackend, LocalService
from mesh.matching import ServicePort
from mesh.service import Port
from peering.clusterids import ClusterIDs
from peering.peer import Peer
from peering.peers import Peers
from tests.agent.fakemap import FakeKernel, FakeMap, FakeServices
from tests.agent.values import EAST, NODE, number
from tests.simulation.invariants import Invariants
from tests.simulation.network import Wire
from tests.simulation.source import SERVICE

FRONTEND = Frontend("172.20.1.5", 80, "TCP")
LOCAL = {
    "198.18.1.11/32": (Rank(Level.OWN_NODE, owner="node/node-1"), IPCacheEntry(1, None)),
    "198.18.1.12/32": (Rank(Level.LOCAL_NODE, owner="node/node-2"), IPCacheEntry(6, None)),
    "10.1.1.5/32": (Rank(Level.OWN_NODE, owner="1"), IPCacheEntry(int(number(1, 3)), None)),
    "10.1.2.6/32": (
        Rank(Level.LOCAL_ENDPOINT, owner="shop/a"),
        IPCacheEntry(int(number(1, 4)), "198.18.1.12"),
    ),
}


class _IPCacheMap(FakeMap):
    def __init__(self, kernel: SimKernel) -> None:
        super().__init__("ipcache", kernel.log)
        self.readable: dict[str, IPCacheEntry] = {}
        self._kernel = kernel

    def update(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        listed = list(items)
        super().update(listed)
        for key, value in listed:
            prefix, entry = _readable(key, value)
            self.readable[prefix] = entry
            self._kernel.watch.written(self._kernel.reader, prefix, entry)

    def delete(self, keys: Iterable[bytes]) -> None:
        listed = list(keys)
        had = [key for key in listed if key in self.entries]
        super().delete(listed)
        for key in had:
            prefix = ipcache_map.unpack_key(key).prefix_text
            del self.readable[prefix]
            self._kernel.watch.deleted(self._kernel.reader, prefix)


class _ServiceMaps(FakeServices):
    def __init__(self, kernel: SimKernel) -> None:
        super().__init__(kernel.log)
        self._kernel = kernel

    def sync(
        self,
        services: Mapping[Frontend, Sequence[BackendLike]],
        *,
        complete: bool = True,
        masters: Mapping[Frontend, Master] = ALL_PLAIN,
    ) -> int:
        written = super().sync(services, complete=complete, masters=masters)
        self._kernel.backends(services.get(FRONTEND, ()))
        return written

    def change(
        self,
        changes: Mapping[Frontend, Sequence[BackendLike] | None],
        *,
        masters: Mapping[Frontend, Master] = ALL_PLAIN,
    ) -> int:
        written = super().change(changes, masters=masters)
        if FRONTEND in changes:
            self._kernel.backends(changes[FRONTEND] or ())
        return written


class SimKernel(FakeKernel):
    """Kernel maps that tell the invariants of every write."""

    def __init__(self, reader: str, watch: Invariants) -> None:
        super().__init__()
        self.reader = reader
        self.watch = watch
        self.ipcache: _IPCacheMap = _IPCacheMap(self)
        self.services = _ServiceMaps(self)
        self.served: frozenset[str] = frozenset()

    def backends(self, backends: Iterable[BackendLike]) -> None:
        before, self.served = self.served, frozenset(backend.ip for backend in backends)
        self.log.clear()  # nobody reads it here, and a history is long
        self.watch.served(self.reader, before, self.served)

    def entries(self) -> dict[str, IPCacheEntry]:
        """The ipcache, as `bpf` reads it."""
        return dict(self.ipcache.readable)


class Reader:
    def __init__(self, name: str, wires: Mapping[str, Wire], watch: Invariants) -> None:
        self.name = name
        self.wires = wires
        self.kernel = SimKernel(name, watch)
        self.agent: Agent | None = None
        self.files: dict[str, bytes] = {}
        self._watch = watch
        self._files_changed = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self._life is not None

    def says(self) -> dict[str, dict[str, Any]]:
        """What the agent's API says of each peer."""
        return {said["name"]: said for said in self.agent.remote_clusters()} if self.agent else {}

    def state(self, peer: str) -> PeerState:
        assert self.agent is not None
        return self.agent.states[peer]

    def configure(self, peer: str, note: str = "") -> None:
        self.files[peer] = f"endpoints: [http://{peer}.example.org:2379]\n# {note}\n".encode()
        self._files_changed.set()

    def unconfigure(self, peer: str) -> None:
        self.files.pop(peer, None)
        self._files_changed.set()

    def start(self, group: asyncio.TaskGroup, lists_after: float) -> None:
        self._life = group.create_task(self._live(lists_after), name=f"reader/{self.name}")

    async def stop(self) -> None:
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait([self._life])
            self._life = self.agent = None
            self._watch.reader_ended(self.name)

    async def _live(self, lists_after: float) -> None:
        loop = asyncio.get_running_loop()
        tables = Tables(NODE, now=loop.time)
        agent = Agent("east", self.name, tables=tables)
        agent.datapath = Datapath(
            tables, self.kernel.maps(tables), health=agent.datapath_health, now=loop.time
        )
        ids = ClusterIDs(now=loop.time)

        def make(name: str) -> Peer:
            state = agent.states[name] = PeerState(name, tables)
            sink = _ObservedSink(state, self._watch, self.name, self.wires[name])
            return Peer(
                name,
                sink=sink,
                connect=self._connect,
                ids=ids,
                local=EAST,
                now=loop.time,
                wall=loop.time,
            )

        agent.peers = Peers(Path(self.name), "east", make, tables.settle)
        tables.set_peer_listings(agent.peer_listings)
        self.agent = agent
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.datapath.run(), name="datapath")
            group.create_task(agent.peers.run(self._readings), name="peers")
            group.create_task(_list_own(tables, lists_after), name="kubernetes")
            group.create_task(give_up_waiting(tables.services), name="waiting backends")

    def _connect(self, config: EtcdConfig) -> AbstractAsyncContextManager[Readable]:
        host = config.endpoints[0].removeprefix("http://")
        return self.wires[host.partition(".")[0]].connect()

    async def _readings(self, _: Path) -> AsyncGenerator[dict[str, bytes], None]:
        while True:
            self._files_changed.clear()
            yield dict(self.files)
            await self._files_changed.wait()


class _ObservedSink:
    """The real state of a peer, with the invariants looking on."""

    def __init__(self, state: PeerState, watch: Invariants, reader: str, wire: Wire) -> None:
        self._state = state
        self._watch = watch
        self._reader = reader
        self._wire = wire

    def held(self, kind: Kind) -> Holding:
        return self._state.held(kind)

    def apply(self, kind: Kind, delta: Delta, scope: PeerScope) -> None:
        self._watch.applying(self._reader, kind, scope, self._wire)
        self._state.apply(kind, delta, scope)

    def listed(self, kind: Kind, cluster_id: ClusterID) -> None:
        self._state.listed(kind, cluster_id)

    def begin(self, remote: ClusterConfig, kinds: Sequence[Kind]) -> None:
        self._state.begin(remote, kinds)

    def refused(self, key: str, reason: str) -> None:
        self._state.refused(key, reason)

    def revoke(self) -> None:
        self._state.revoke()

    def drain(self) -> None:
        self._watch.draining(self._reader, self._state.name)
        self._state.drain()


async def _list_own(tables: Tables, after: float) -> None:
    """What Kubernetes tells us of our own cluster, when it does."""
    await asyncio.sleep(after)
    for prefix, (rank, entry) in LOCAL.items():
        tables.ipcache.upsert(prefix, rank, entry)
    ports = (ServicePort("http", "TCP", 80),)
    annotations = {"service.cilium.io/global": "true"}
    tables.services.set_local(SERVICE, LocalService("shop", "web", annotations, (FRONTEND.ip,), ports))
    piece = Slice(SERVICE, (LocalBackend("10.1.1.5", {"http": Port("TCP", 8080)}),))
    tables.services.set_slice("shop/web-1", piece)
    tables.own_listed()


def _readable(key: bytes, raw: bytes) -> tuple[str, IPCacheEntry]:
    value = ipcache_map.unpack_value(raw)
    entry = IPCacheEntry(value.identity, value.tunnel, value.encrypt_key)
    return ipcache_map.unpack_key(key).prefix_text, entry
