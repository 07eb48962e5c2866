"""One peer's connection, from dialling to losing it (spec 3.3 to 3.6).

Promises: nothing a peer told us is removed before its list is complete; a lost connection, a silent or a
replaced peer removes nothing; every reconnection ends in a full compare. What is imported goes to a `Sink`;
this file knows no tables and no kernel. Draining is the caller's: only removal from the configuration, or a
changed cluster id (here), forgets what a peer told us.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from agent.backoff import LinearBackoff
from agent.clusterids import ClusterIDs
from agent.errors import AgentError, PeerConfigChangedError, PeerConfigMissingError, SilentPeerError
from agent.local import LocalCluster
from agent.peerstatus import IMPORTED_KINDS, WAITING, PeerStatus
from aiokit.apart import apart
from aiokit.backoff import Backoff
from kvstore.backend import Readable
from kvstore.config import EtcdConfig, parse
from kvstore.errors import KVStoreError
from kvstore.etcd import ConnectionStatus
from kvstore.watch import Delta
from kvstore.watchstore import follow
from mesh import clusterconfig, keys
from mesh.addressing import ClusterID, PeerScope, parse_cluster_name
from mesh.errors import MeshError
from mesh.keys import Kind

log = logging.getLogger(__name__)

CHUNK = 2000  # entries handled before other tasks get a turn: about 10 ms
STEADY_SECONDS = 60.0  # a connection that lasted this long once all was imported was a good one

Connector = Callable[[EtcdConfig], AbstractAsyncContextManager[Readable]]


class Sink(Protocol):
    """Where a peer's entries go. All calls are synchronous: between two awaits the state is consistent."""

    def held(self, kind: Kind) -> Mapping[bytes, bytes]: ...
    def apply(self, kind: Kind, delta: Delta, scope: PeerScope) -> None: ...
    def listed(self, kind: Kind, cluster_id: ClusterID) -> None: ...
    def drain(self) -> None: ...


@runtime_checkable
class Describing(Protocol):
    """A connection that can say how it is (`kvstore.etcd.EtcdBackend`)."""

    def status(self) -> ConnectionStatus: ...


@dataclass(frozen=True, slots=True)
class PeerTimes:
    """Seconds. The defaults are those of the wire reference; tests shorten them."""

    connect: float = 900.0  # until the first answer
    config: float = 180.0  # until the cluster configuration is found
    config_retry: float = 1.0
    config_retry_cap: float = 30.0
    silence: float = 120.0  # the writer beats every 60 s
    heartbeat_check: float = 30.0
    heartbeat_check_failing: float = 5.0
    retry_step: float = 1.0
    retry_cap: float = 60.0
    stream_retry: float = 0.05
    stream_retry_cap: float = 60.0


class Peer:
    """One remote cluster. `run` is its whole life; `status` may be read at any time."""

    def __init__(
        self,
        name: str,
        *,
        sink: Sink,
        connect: Connector,
        ids: ClusterIDs,
        local: LocalCluster,
        times: PeerTimes | None = None,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._sink = sink
        self._connect = connect
        self._ids = ids
        self._local = local
        self._times = times or PeerTimes()
        self._now = now
        self._wall = wall
        self._status = PeerStatus()
        self._backoff = LinearBackoff(self._times.retry_step, self._times.retry_cap)
        self._backend: Readable | None = None
        self._last_beat = 0.0
        self._steady_from = math.inf
        self._last_id: ClusterID | None = None

    def status(self) -> PeerStatus:
        """A connection that is being dialled anew is none, and says why; its state is kept all the same."""
        backend = self._backend
        if self._status.connected and isinstance(backend, Describing):
            said = backend.status()
            if not said.connected:
                text = f"etcd: 0/1 connected: {said.error or 'dialling'}"
                return self._status.with_changes(connected=False, text=text)
        return self._status

    async def run(self, content: bytes) -> None:
        """Stay connected as `content` says, until cancelled. Errors are retried; bugs propagate."""
        try:
            while True:
                try:
                    session = self._session(parse(content, self.name))
                    await apart(session, f"{self.name}/session")
                except* (KVStoreError, MeshError, AgentError, OSError, TimeoutError) as errors:
                    self._failed(errors)
                    if self._now() >= self._steady_from:
                        self._backoff.reset()
                await asyncio.sleep(self._backoff.next())
        finally:
            self._set(connected=False, text=WAITING, synced=frozenset())

    def drain(self) -> None:
        """Forget the peer: it was removed from the configuration."""
        self._sink.drain()
        self._ids.release(self.name)
        self._last_id = None

    async def _session(self, config: EtcdConfig) -> None:
        self._set(config_required=True, config_retrieved=False, synced=frozenset())
        self._steady_from = math.inf  # importing everything costs most: it is no success in itself
        async with self._connect(config) as backend:
            async with asyncio.timeout(self._times.connect):
                await backend.get_prefix(keys.HEARTBEAT)
            self._backend = backend
            self._last_beat = self._now()
            self._set(connected=True, text=_connected_text(backend))
            raw, remote = await self._cluster_config(backend)
            scope = self._accept(remote)
            self._set(config=remote, config_retrieved=True)
            await self._import(backend, raw, remote, scope)

    async def _import(
        self, backend: Readable, raw: bytes, remote: clusterconfig.ClusterConfig, scope: PeerScope
    ) -> None:
        canaries = {kind: asyncio.Event() for kind in IMPORTED_KINDS}
        if not remote.synced_canaries:
            for canary in canaries.values():
                canary.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._heartbeat(backend), name=f"{self.name}/heartbeat")
            group.create_task(self._liveness(), name=f"{self.name}/liveness")
            group.create_task(self._config_watch(backend, raw), name=f"{self.name}/config")
            if remote.synced_canaries:
                watch = self._canaries(backend, canaries, cached=remote.cached)
                group.create_task(watch, name=f"{self.name}/canaries")
            for kind, canary in canaries.items():
                work = self._import_kind(backend, kind, canary, scope, cached=remote.cached)
                group.create_task(work, name=f"{self.name}/{kind.name.lower()}")

    async def _cluster_config(self, backend: Readable) -> tuple[bytes, clusterconfig.ClusterConfig]:
        """Wait for the peer's own description, under the name of our configuration file."""
        backoff = Backoff(self._times.config_retry, self._times.config_retry_cap)
        key = keys.cluster_config(self.name)
        try:
            async with asyncio.timeout(self._times.config):
                while True:
                    pair = await backend.get(key)
                    if pair is not None:
                        return pair.value, clusterconfig.decode(self.name, pair.value)
                    await asyncio.sleep(backoff.next())
        except TimeoutError as error:
            raise PeerConfigMissingError(f"no {key.decode()} within {self._times.config:g} s") from error

    def _accept(self, remote: clusterconfig.ClusterConfig) -> PeerScope:
        """Validate the configuration and reserve the id; a changed id forgets everything first."""
        if self._last_id is not None and remote.id != self._last_id:
            log.warning("peer %s changed its cluster id from %s to %s", self.name, self._last_id, remote.id)
            self.drain()
        taken = self._ids.taken(self.name)
        clusterconfig.check(remote, local_id=self._local.id, layout=self._local.layout, taken=taken)
        self._last_id = ClusterID(remote.id)
        self._ids.reserve(self._last_id, self.name)
        return PeerScope(parse_cluster_name(self.name), self._last_id, self._local.layout)

    async def _config_watch(self, backend: Readable, known: bytes) -> None:
        """A changed configuration is a new session. A deleted one freezes what we have (rule 6)."""
        key = keys.cluster_config(self.name)
        before = clusterconfig.decode(self.name, known)
        async with aclosing(follow(backend, key, backoff=self._stream_backoff(), single=True)) as deltas:
            async for delta in deltas:
                for _, value in delta.upserts:
                    if clusterconfig.decode(self.name, value) != before:
                        raise PeerConfigChangedError(f"the configuration of {self.name} changed")

    async def _heartbeat(self, backend: Readable) -> None:
        # the list of a new connection counts as a beat (spec 3.5): we hold nothing, so everything is news
        stream = follow(backend, keys.HEARTBEAT, held=dict, backoff=self._stream_backoff())
        async with aclosing(stream) as deltas:
            async for delta in deltas:
                if delta.upserts:
                    self._last_beat = self._now()

    async def _liveness(self) -> None:
        """Etcd answering is not enough: its writer must be alive too."""
        while True:
            failing = self._now() - self._last_beat > self._times.silence / 2
            times = self._times
            await asyncio.sleep(times.heartbeat_check_failing if failing else times.heartbeat_check)
            silent = self._now() - self._last_beat
            if silent > times.silence:
                raise SilentPeerError(f"no heartbeat for {silent:.0f} s")

    async def _canaries(
        self, backend: Readable, canaries: Mapping[Kind, asyncio.Event], *, cached: bool
    ) -> None:
        expected = {
            keys.synced_key(kind, self.name, cached=cached): event for kind, event in canaries.items()
        }
        prefix = keys.synced_prefix(self.name)
        async with aclosing(follow(backend, prefix, backoff=self._stream_backoff())) as deltas:
            async for delta in deltas:
                for suffix, _ in delta.upserts:
                    if event := expected.get(prefix + suffix):
                        event.set()

    async def _import_kind(
        self, backend: Readable, kind: Kind, canary: asyncio.Event, scope: PeerScope, *, cached: bool
    ) -> None:
        await canary.wait()
        prefix = keys.cache_prefix(kind, self.name) if cached else keys.state_prefix(kind, self.name)
        stream = follow(backend, prefix, held=lambda: self._sink.held(kind), backoff=self._stream_backoff())
        async with aclosing(stream) as deltas:
            async for delta in deltas:
                await self._apply(kind, delta, scope)

    async def _apply(self, kind: Kind, delta: Delta, scope: PeerScope) -> None:
        for start in range(0, len(delta.upserts), CHUNK):
            self._sink.apply(kind, Delta(upserts=delta.upserts[start : start + CHUNK]), scope)
            if start + CHUNK < len(delta.upserts):
                await asyncio.sleep(0)
        if delta.removes:
            self._sink.apply(kind, Delta(removes=delta.removes), scope)
        if delta.synced:
            self._sink.listed(kind, scope.cluster_id)
            self._set(synced=self._status.synced | {kind})
            if self._status.is_synced:
                self._steady_from = min(self._steady_from, self._now() + STEADY_SECONDS)

    def _stream_backoff(self) -> Backoff:
        return Backoff(self._times.stream_retry, self._times.stream_retry_cap)

    def _failed(self, errors: BaseExceptionGroup[BaseException]) -> None:
        cause = _first(errors)
        text = str(cause) or type(cause).__name__
        status = self._status
        if status.connected:
            status = status.with_changes(failures=status.failures + 1, last_failure=self._wall())
        self._status = status.with_changes(connected=False, text=f"Err: {text}", synced=frozenset())
        log.warning("connection to peer %s failed: %s", self.name, text)

    def _set(self, **changes: object) -> None:
        self._status = self._status.with_changes(**changes)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _connected_text(backend: Readable) -> str:
    return (
        "etcd: 1/1 connected, leases=0, lock leases=0, has-quorum=true: "
        f"endpoint status checks are disabled, ID: {backend.cluster_id:x}"
    )
