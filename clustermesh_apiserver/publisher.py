"""Keeps our etcd holding what the exporters want, whatever etcd it turns out to be.

Every session with an etcd (`ownstore`) begins with a compare and writes what differs: data, then canaries.
The guard's watch stands before the first canary, so none that somebody deletes goes unseen.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from aiokit.backoff import Backoff
from aiokit.wait import eventually
from clustermesh_apiserver import clusterconfig, heartbeat
from clustermesh_apiserver.exporter import Exporter
from clustermesh_apiserver.health import KindReport, Report
from clustermesh_apiserver.ownstore import (
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    Connect,
    guard,
    sessions,
)
from clustermesh_apiserver.pace import Pace, Pacer
from kvstore.backend import Backend
from kvstore.lease import LeasePool
from kvstore.meter import Meter
from kvstore.metered import MeteredBackend
from kvstore.paced import PacedBackend
from kvstore.syncstore import SyncStatus, SyncStore
from mesh.addressing import PeerScope
from mesh.keys import Kind, state_prefix, synced_key, synced_prefix
from mesh.servicemode import ServiceMode

log = logging.getLogger(__name__)


class Publisher:
    def __init__(
        self,
        connect: Connect,
        scope: PeerScope,
        exporters: Sequence[Exporter],
        *,
        lease_ttl_seconds: int,
        mode: ServiceMode = ServiceMode.PREFER_LEGACY,
        mcs_api: bool = False,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._connect = connect
        self._scope = scope
        self._exporters = exporters
        self._lease_ttl_seconds = lease_ttl_seconds
        self._own_config = clusterconfig.own_config(scope, mode, mcs_api=mcs_api)
        self._pacer = Pacer(pace)
        self._clock = clock
        self._now = now
        self._began = clock()
        self._stores: dict[Kind, SyncStore] = {}
        self.meter = Meter()
        self.sessions = 0
        self.bootstrap_seconds = 0.0
        self._heartbeat_error = ""

    def report(self) -> Report:
        """For readiness and metrics."""
        return Report(
            cluster=self._scope.name,
            kinds=tuple(self._kind_report(exporter) for exporter in self._exporters),
            bootstrap_seconds=self.bootstrap_seconds,
            kvstore_sessions=self.sessions,
            heartbeat_error=self._heartbeat_error,
        )

    def _kind_report(self, exporter: Exporter) -> KindReport:
        scope = exporter.kind.value + "/v1"
        refused = exporter.status().refused
        store = self._stores.get(exporter.kind)
        between_sessions = SyncStatus(0, 0, 0, False)
        return KindReport(scope, store.status() if store else between_sessions, refused)

    async def wait_stored(self, seconds: float) -> bool:
        """Wait until all that was heard is stored, but not longer than this; whether it is."""
        with suppress(TimeoutError):
            await eventually(lambda: not any(s.status().queued for s in self._stores.values()), seconds)
            return True
        return False

    async def run(self) -> None:
        """Publish until cancelled. Only ConfigRefusedError, and bugs, propagate."""
        backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        work = partial(self._publish, backoff)
        ttl = self._lease_ttl_seconds
        await sessions(self._connect, work, lease_ttl_seconds=ttl, backoff=backoff, name="publisher")

    async def _publish(self, backoff: Backoff, connected: Backend, leases: LeasePool) -> None:
        self.sessions += 1
        self._pacer.begin()
        backend = self._measured(connected)
        stores = {exporter.kind: self._store(backend, leases, exporter) for exporter in self._exporters}
        self._stores = stores
        try:
            async with asyncio.TaskGroup() as group:
                enforcing = clusterconfig.enforce(backend, leases, self._scope, self._own_config)
                group.create_task(enforcing, name="clusterconfig")
                beating = heartbeat.beat(backend, leases, now=self._now, told=self._note_beat)
                group.create_task(beating, name="heartbeat")
                standing = asyncio.Event()
                group.create_task(self._guard(backend, standing), name="guard")
                await standing.wait()
                for exporter in self._exporters:
                    store = stores[exporter.kind]
                    group.create_task(store.run(), name=f"store/{exporter.kind.name}")
                    exporter.attach(store)
                group.create_task(self._note_synced(backoff), name="synced")
        finally:
            self._stores = {}

    def _measured(self, backend: Backend) -> Backend:
        metered = MeteredBackend(backend, self.meter)
        bucket = self._pacer.bucket
        return metered if bucket is None else PacedBackend(metered, bucket.turn)

    def _store(self, backend: Backend, leases: LeasePool, exporter: Exporter) -> SyncStore:
        name, kind = self._scope.name, exporter.kind
        prefix = state_prefix(kind, name)
        return SyncStore(
            backend,
            prefix,
            leases,
            synced_key=synced_key(kind, name),
            now=self._now,
            propagation=self.meter.propagation(prefix, name),
            prunes=exporter.prunes,
        )

    def _note_beat(self, error: str) -> None:
        self._heartbeat_error = error

    async def _note_synced(self, backoff: Backoff) -> None:
        for store in list(self._stores.values()):
            await store.synced.wait()
        backoff.reset()
        self._pacer.settle()
        if not self.bootstrap_seconds:
            self.bootstrap_seconds = self._clock() - self._began
        log.info("everything is exported after=%.2fs", self._clock() - self._began)

    async def _guard(self, backend: Backend, standing: asyncio.Event) -> None:
        ours = {synced_key(exporter.kind, self._scope.name) for exporter in self._exporters}
        await guard(backend, synced_prefix(self._scope.name), lambda: ours, standing)
