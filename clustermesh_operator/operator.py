"""Watches, decides, writes; and begins again when anything has changed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from aiokit.backoff import Backoff
from aiokit.tokenbucket import TokenBucket
from clustermesh_operator.applier import Applier
from clustermesh_operator.plan import plan
from clustermesh_operator.remote import RemoteExports, read_kinds
from clustermesh_operator.snapshot import Settings
from clustermesh_operator.world import FOLLOWED, World
from k8s.client import Client
from k8s.objects import KubeObject
from k8s.resource import Resource
from k8s.watch import follow
from mesh import timestamp
from mesh.addressing import PeerScope
from peering.claimsfile import ClaimsFile
from peering.clusterids import ClusterIDs
from peering.peer import Connector, Peer
from peering.peers import Peers
from peering.times import PeerTimes

FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.2, 15.0
SETTLE_SECONDS = 0.05  # changes come in groups: one decision for each is enough
REST = 4.0  # times as long as deciding took: where much changes all the time, that is a fifth of a processor
CONNECTS_PER_SECOND, CONNECTS_AT_ONCE = 10.0, 20  # to all peers together

log = logging.getLogger(__name__)


class Operator:
    def __init__(
        self,
        client: Client,
        scope: PeerScope,
        settings: Settings,
        *,
        directory: Path,
        connector: Callable[[World], Connector],
        times: PeerTimes | None = None,
    ) -> None:
        """`connector` is given the world, where in-cluster names can be looked up."""
        self._client = client
        self._scope = scope
        self._settings = settings
        self._times = times
        self._ids = ClusterIDs()
        self._budget = TokenBucket(CONNECTS_PER_SECOND, CONNECTS_AT_ONCE)
        self.world = World(settings, lambda: self.peers.is_read)
        self._connect = connector(self.world)
        changed = self.world.changed.set
        self._claims = ClaimsFile(changed, self._refused)
        self.peers = Peers(
            directory, settings.cluster, self._make, changed, self._removed, rules=self._claims.read
        )
        self.applier = Applier(client, lambda ref: self.world.version(ref.resource, ref.key))

    async def run(self) -> None:
        """Until cancelled. Bugs propagate."""
        async with asyncio.TaskGroup() as group:
            for resource, type_ in FOLLOWED.items():
                group.create_task(self._follow(resource, type_), name=f"follow/{resource.plural}")
            group.create_task(self.peers.run(), name="peers")
            group.create_task(self._converge(), name="converge")

    async def _follow(self, resource: Resource, type_: type[KubeObject]) -> None:
        backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        async with aclosing(follow(self._client, resource, type_, backoff=backoff)) as deltas:
            async for delta in deltas:
                self.world.apply(resource, delta)

    async def _converge(self) -> None:
        backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        is_done, took = True, 0.0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(None if is_done else backoff.next()):
                    await self.world.changed.wait()
            await asyncio.sleep(max(SETTLE_SECONDS, REST * took))
            self.world.changed.clear()
            snapshot = self.world.snapshot()
            if snapshot is None:
                continue
            begun = time.monotonic()
            wanted = plan(snapshot, timestamp.write(datetime.now(UTC)))
            took = time.monotonic() - begun
            is_done = await self.applier.apply(wanted)
            if is_done:
                backoff.reset()

    def _make(self, name: str) -> Peer:
        remote = self.world.remotes[name] = RemoteExports(
            name, self.world.changed.set, partial(self._claims.of, name)
        )
        return Peer(
            name,
            sink=remote,
            connect=self._connect,
            ids=self._ids,
            local=self._scope,
            times=self._times,
            kinds=partial(read_kinds, endpoint_sync=self._settings.endpoint_sync),
            budget=self._budget,
        )

    def _refused(self, file: str, reason: str) -> None:
        for remote in self.world.remotes.values():
            remote.refused(file, reason)

    def _removed(self, peer: Peer) -> None:
        peer.drain()
        self.world.remotes.pop(peer.name, None)
        self.world.changed.set()
