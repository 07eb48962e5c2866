"""All peers' copies in our etcd, following the configuration and whatever etcd ours turns out to be.

Two sides that do not wait for each other: `Peers` reads the clusters, and a session with our etcd keeps that
equal to what they said. Peers share our etcd's attention fairly: a flood of one does not hold up the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import NoReturn

from aiokit.backoff import Backoff
from aiokit.turns import Turns
from clustermesh_apiserver import heartbeat
from clustermesh_apiserver.kvstoremesh import cleanup, election
from clustermesh_apiserver.kvstoremesh.config import MirrorConfig
from clustermesh_apiserver.kvstoremesh.readiness import Copied, is_ready
from clustermesh_apiserver.kvstoremesh.remote_cluster import RemoteCluster, mirrored
from clustermesh_apiserver.kvstoremesh.report import Report, remote_report
from clustermesh_apiserver.ownstore import (
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    Connect,
    guard,
    sessions,
)
from clustermesh_apiserver.pace import Pacer
from kvstore.backend import Backend
from kvstore.lease import LeasePool
from kvstore.meter import Meter
from kvstore.metered import MeteredBackend
from kvstore.paced import PacedBackend
from mesh.keys import CONFIG_PREFIX, cluster_config
from peering.clusterids import ClusterIDs
from peering.peer import Connector, Peer
from peering.peers import Peers
from peering.times import PeerTimes

REQUESTS_AT_ONCE = 16  # to our etcd, of all peers together: enough to hide the round trips of a few
SYNCED_PREFIX = b"cilium/synced/"
SETTLED_POLL_SECONDS = 0.5


class KVStoreMesh:
    def __init__(
        self,
        config: MirrorConfig,
        *,
        connect: Connect,
        connect_peer: Connector,
        meter: Meter | None = None,
        times: PeerTimes | None = None,
        grace_seconds: float = cleanup.GRACE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._connect = connect
        self._connect_peer = connect_peer
        self._times = times or PeerTimes(cache_ttl=config.cache_ttl_seconds)
        self._grace_seconds = grace_seconds
        self._clock = clock
        self._began = clock()
        self._ids = ClusterIDs()
        self._remotes: dict[str, RemoteCluster] = {}
        self._since: dict[str, float] = {}
        self._connected: set[str] = set()  # were connected at least once
        self._gone: set[str] = set()  # removed, and not cleaned up yet
        self._changed = asyncio.Event()
        self.meter = meter or Meter()
        self._turns = Turns(REQUESTS_AT_ONCE)
        self._pacer = Pacer(config.pace)
        self._is_leading = False
        self._bootstrap_seconds = 0.0
        self._is_ready = False
        self._peers = Peers(
            config.peers_directory, config.cluster.name, self._make, self._changed.set, self._removed
        )

    async def run(self) -> None:
        """Until cancelled; then everything stays where it is. Only bugs propagate."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._peers.run(), name="peers")
            group.create_task(self._sessions(), name="own store")
            group.create_task(self._note_ready(), name="readiness")

    def report(self) -> Report:
        peers = self._peers.peers
        return Report(
            cluster=self._config.cluster.name,
            ready=self._is_ready,
            is_leading=self._is_leading,
            bootstrap_seconds=self._bootstrap_seconds,
            remotes=tuple(
                remote_report(name, peers[name].status(), remote)
                for name, remote in sorted(self._remotes.items())
                if name in peers
            ),
        )

    @property
    def certificate_files(self) -> set[Path]:
        """Those that we show, and the authorities that we trust, towards anybody."""
        peers = {file for peer in self._peers.peers.values() for file in peer.certificate_files}
        return {*peers, *self._config.etcd.certificate_files}

    # the configuration

    def _make(self, name: str) -> Peer:
        remote = self._remotes[name] = RemoteCluster(name, self.meter)
        self._since[name] = self._clock()
        return Peer(
            name,
            sink=remote,
            connect=self._connect_peer,
            ids=self._ids,
            local=self._config.cluster,
            times=self._times,
            kinds=mirrored,
        )

    def _removed(self, peer: Peer) -> None:
        """What stands of it in our etcd is for the clean-up to remove, after a while."""
        peer.leave()
        del self._remotes[peer.name], self._since[peer.name]
        self._connected.discard(peer.name)
        self._gone.add(peer.name)

    # readiness

    async def _note_ready(self) -> None:
        """Once ready, ready for good: agents that read us must not be sent away by one peer's trouble."""
        while not self._is_ready:
            for name, peer in self._peers.peers.items():
                if peer.status().connected:
                    self._connected.add(name)
            if is_ready(self._clock() - self._began, self._copied(), self._config.patience):
                self._is_ready = True
                self._bootstrap_seconds = self._clock() - self._began
                self._pacer.settle()
            await asyncio.sleep(SETTLED_POLL_SECONDS)

    def _copied(self) -> list[Copied] | None:
        if not self._peers.is_read:
            return None
        now = self._clock()
        return [
            Copied(now - self._since[name], name in self._connected, remote.is_stored)
            for name, remote in self._remotes.items()
        ]

    # our etcd

    async def _sessions(self) -> NoReturn:
        backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        ttl = self._config.lease_ttl_seconds
        work = partial(self._session, backoff)
        await sessions(self._connect, work, lease_ttl_seconds=ttl, backoff=backoff, name="kvstoremesh")

    async def _session(self, backoff: Backoff, connected: Backend, leases: LeasePool) -> None:
        backend = MeteredBackend(connected, self.meter)
        async with election.leading(backend) if self._config.shares_store else nullcontext():
            self._is_leading = True
            backoff.reset()
            try:
                async with asyncio.TaskGroup() as group:
                    await self._guard(group, backend)
                    if self._config.beats:
                        group.create_task(heartbeat.beat(backend, leases), name="heartbeat")
                    group.create_task(self._follow(group, backend, leases), name="remotes")
            finally:
                self._is_leading = False

    async def _guard(self, group: asyncio.TaskGroup, backend: Backend) -> None:
        """Both watches stand before anything is reflected: no copy that somebody deletes goes unseen."""
        for prefix, ours in ((SYNCED_PREFIX, self._canaries), (CONFIG_PREFIX, self._configs)):
            standing = asyncio.Event()
            group.create_task(guard(backend, prefix, ours, standing), name=f"guard/{prefix.decode()}")
            await standing.wait()

    def _canaries(self) -> set[bytes]:
        return {canary for remote in self._remotes.values() for canary in remote.canaries()}

    def _configs(self) -> set[bytes]:
        return {cluster_config(remote.name) for remote in self._remotes.values() if remote.canaries()}

    async def _follow(self, group: asyncio.TaskGroup, backend: Backend, leases: LeasePool) -> None:
        """Reflect what is configured, clean up after what is not any more."""
        reflecting: dict[RemoteCluster, asyncio.Task[None]] = {}
        cleaning: dict[str, asyncio.Task[None]] = {}
        is_first = True
        while True:
            self._changed.clear()
            if self._peers.is_read and is_first:
                is_first = False
                own = self._config.cluster.name
                self._gone |= await cleanup.strangers(backend, own, self._remotes)
            for remote in reflecting.keys() - self._remotes.values():
                await _stop(reflecting.pop(remote))
            for name in cleaning.keys() & self._remotes.keys():
                await _stop(cleaning.pop(name))
            cleaning = {name: task for name, task in cleaning.items() if not task.done()}
            self._gone -= self._remotes.keys()
            for name, remote in self._remotes.items():
                if remote not in reflecting:
                    work = remote.reflect(self._shared(backend, name), leases)
                    reflecting[remote] = group.create_task(work, name=f"reflect/{name}")
            for name in self._gone - cleaning.keys() if self._config.drains else ():
                work = self._clean(backend, leases, name)
                cleaning[name] = group.create_task(work, name=f"clean/{name}")
            await self._changed.wait()

    async def _clean(self, backend: Backend, leases: LeasePool, name: str) -> None:
        shared = self._shared(backend, name)
        if await cleanup.cleanup(shared, leases, name, grace_seconds=self._grace_seconds):
            self._gone.discard(name)

    def _shared(self, backend: Backend, name: str) -> Backend:
        return PacedBackend(backend, partial(self._turn, name))

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncGenerator[None]:
        async with self._turns.turn(name):
            if self._pacer.bucket is not None:
                await self._pacer.bucket.take()
            yield


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
