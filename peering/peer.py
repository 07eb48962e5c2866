"""One peer's life: dialled, accepted, followed, lost, dialled again (spec 3.3 to 3.6).

Promises: nothing a peer told us is removed before its list is complete; a lost connection, a silent or a
replaced peer removes nothing, unless a cache TTL says so, and then services only; every reconnection ends in
a full compare. What happens on a connection is in `peering.session`; what is imported goes to its `Sink`.
Draining is the caller's: only removal from the configuration, or a changed cluster id (here), forgets what a
peer told us.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from aiokit.apart import apart
from aiokit.failure import first
from aiokit.tokenbucket import TokenBucket
from kvstore.backend import Readable
from kvstore.config import EtcdConfig, parse
from kvstore.errors import KVStoreError
from kvstore.etcd import ConnectionStatus
from mesh import clusterconfig, keys
from mesh.addressing import ClusterID, PeerScope, parse_cluster_name
from mesh.clusterconfig import ClusterConfig
from mesh.errors import DecodeError, IncompatibleClusterError, MeshError
from mesh.keys import Kind
from mesh.servicemode import ServiceMode, imported
from peering.backoff import LinearBackoff
from peering.clusterids import ClusterIDs
from peering.errors import PeerError
from peering.ownfiles import complaints
from peering.session import Clock, Session, Sink
from peering.status import WAITING, PeerStatus
from peering.times import PeerTimes

log = logging.getLogger(__name__)

STEADY_SECONDS = 60.0  # a connection that lasted this long once all was imported was a good one

Connector = Callable[[EtcdConfig], AbstractAsyncContextManager[Readable]]


def read_by_default(remote: ClusterConfig) -> Sequence[Kind]:
    return imported(ServiceMode.PREFER_LEGACY, remote)


@runtime_checkable
class Describing(Protocol):
    """A connection that can say how it is (`kvstore.etcd.EtcdBackend`)."""

    def status(self) -> ConnectionStatus: ...


class Peer:
    """One remote cluster. `run` is its whole life; `status` may be read at any time.

    `budget` is shared by all peers: each attempt takes a token, so that many peers lost in one second do
    not take the node's processor away (rule 8). `nodes` tells the size of the mesh, `kinds` what is read of
    a peer that says this of itself.
    """

    def __init__(
        self,
        name: str,
        *,
        sink: Sink,
        connect: Connector,
        ids: ClusterIDs,
        local: PeerScope,
        times: PeerTimes | None = None,
        kinds: Callable[[ClusterConfig], Sequence[Kind]] = read_by_default,
        budget: TokenBucket | None = None,
        nodes: Callable[[], int | None] = lambda: None,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._sink = sink
        self._connect = connect
        self._ids = ids
        self._local = local
        self._times = times or PeerTimes()
        self._kinds = kinds
        self._budget = budget
        self._clock = Clock(now, nodes)
        self._wall = wall
        self._status = PeerStatus()
        self._backoff = LinearBackoff(self._times.retry_step, self._times.retry_cap)
        self._backend: Readable | None = None
        self._config: EtcdConfig | None = None
        self._steady_from = math.inf
        self._last_id: ClusterID | None = None
        self._revocation: asyncio.TimerHandle | None = None

    def status(self) -> PeerStatus:
        """A connection that is being dialled anew is none, and says why; its state is kept all the same."""
        backend = self._backend
        if self._status.connected and isinstance(backend, Describing):
            said = backend.status()
            if not said.connected:
                text = self._explained(f"etcd: 0/1 connected: {said.error or 'dialling'}")
                return self._status.with_changes(connected=False, text=text)
        return self._status

    @property
    def certificate_files(self) -> tuple[Path, ...]:
        """What the connection is made with; none before it was first tried."""
        return self._config.certificate_files if self._config else ()

    @property
    def hosts(self) -> tuple[str, ...]:
        """Where the connection goes to; none before it was first tried."""
        return tuple(each.host for each in self._config.split_endpoints()) if self._config else ()

    async def run(self, content: bytes) -> None:
        """Stay connected as `content` says, until cancelled. Errors are retried; bugs propagate."""
        try:
            while True:
                if self._budget is not None:
                    await self._budget.take()
                try:
                    self._config = parse(content, self.name)
                    session = self._session(self._config)
                    await apart(session, f"{self.name}/session")
                except* (KVStoreError, MeshError, PeerError, OSError, TimeoutError) as errors:
                    self._failed(errors)
                    if self._clock.now() >= self._steady_from:
                        self._backoff.reset()
                await asyncio.sleep(self._backoff.next())
        finally:
            self._set(connected=False, text=WAITING, synced=frozenset())

    def drain(self) -> None:
        """Forget the peer and all that it told: it was removed from the configuration."""
        self.leave()
        self._sink.drain()

    def leave(self) -> None:
        """Forget the peer, and leave what it told to others."""
        self._stop_revocation()
        self._ids.release(self.name)
        self._last_id = None

    async def _session(self, config: EtcdConfig) -> None:
        self._set(config_required=True, config_retrieved=False, synced=frozenset())
        self._steady_from = math.inf  # importing everything costs most: it is no success in itself
        async with self._connect(config) as backend:
            async with asyncio.timeout(self._times.connect):
                await backend.get_prefix(keys.HEARTBEAT)
            self._backend = backend
            self._set(connected=True, text=_connected_text(backend))
            session = Session(self.name, backend, self._sink, self._times, self._clock)
            remote, scope = await self._accepted(session)
            kinds = tuple(self._kinds(remote))
            if Kind.IPS in kinds and not {Kind.SERVICES, Kind.ENDPOINTSLICES}.intersection(kinds):
                log.error("peer %s has no endpoint slices, and services are not read", self.name)
            self._stop_revocation()
            trip = session.round_trip
            self._set(config=remote, config_retrieved=True, kinds=kinds, round_trip=trip)
            await session.run(remote, scope, kinds, self._synced)

    async def _accepted(self, session: Session) -> tuple[ClusterConfig, PeerScope]:
        try:
            remote = await session.cluster_config()
            return remote, self._accept(remote)
        except (DecodeError, IncompatibleClusterError) as error:
            self._sink.refused(keys.cluster_config(self.name).decode(), f"cluster-config: {error.reason}")
            raise

    def _accept(self, remote: ClusterConfig) -> PeerScope:
        """Validate the configuration and reserve the id; a changed id forgets everything first."""
        if self._last_id is not None and remote.id != self._last_id:
            log.warning("peer %s changed its cluster id from %s to %s", self.name, self._last_id, remote.id)
            self.drain()
        taken = self._ids.taken(self.name)
        clusterconfig.check(remote, local_id=self._local.cluster_id, layout=self._local.layout, taken=taken)
        self._last_id = ClusterID(remote.id)
        self._ids.reserve(self._last_id, self.name)
        return PeerScope(parse_cluster_name(self.name), self._last_id, self._local.layout)

    def _synced(self, kind: Kind) -> None:
        self._set(synced=self._status.synced | {kind})
        if self._status.is_synced:
            self._steady_from = min(self._steady_from, self._clock.now() + STEADY_SECONDS)

    def _explained(self, text: str) -> str:
        """With what is wrong on our own side: a server that refuses our certificate does not say so."""
        found = complaints(self._config, datetime.now(UTC)) if self._config else ""
        return f"{text} ({found})" if found else text

    def _failed(self, errors: BaseExceptionGroup[BaseException]) -> None:
        cause = first(errors)
        text = self._explained(str(cause) or type(cause).__name__)
        status = self._status
        if status.connected:
            status = status.with_changes(failures=status.failures + 1, last_failure=self._wall())
        self._status = status.with_changes(connected=False, text=f"Err: {text}", synced=frozenset())
        log.warning("connection to peer %s failed: %s", self.name, text)
        if self._times.cache_ttl and self._last_id is not None and self._revocation is None:
            loop = asyncio.get_running_loop()
            self._revocation = loop.call_later(self._times.cache_ttl, self._revoke)

    def _revoke(self) -> None:
        """The peer has been away for the cache's time to live (spec 3.6)."""
        log.warning("peer %s is away for %g s: its services are revoked", self.name, self._times.cache_ttl)
        self._sink.revoke()
        self._set(revocations=self._status.revocations + 1)

    def _stop_revocation(self) -> None:
        """The handle is kept once it has fired: one absence revokes once."""
        if self._revocation is not None:
            self._revocation.cancel()
            self._revocation = None

    def _set(self, **changes: object) -> None:
        self._status = self._status.with_changes(**changes)


def _connected_text(backend: Readable) -> str:
    return (
        "etcd: 1/1 connected, leases=0, lock leases=0, has-quorum=true: "
        f"endpoint status checks are disabled, ID: {backend.cluster_id:x}"
    )
