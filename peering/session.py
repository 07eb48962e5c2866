"""One accepted connection to a peer: what is followed there at the same time, until something ends it.

Every prefix waits for its canary, then is listed, compared and watched. The heartbeat must go on, and the
configuration must stay what it was when the connection was accepted. What is imported goes to a `Sink`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from aiokit.backoff import Backoff
from kvstore.backend import Readable
from kvstore.errors import CompactedError, TransientError
from kvstore.watch import Changes, Delta, Event, Holding, Listing
from kvstore.watchstore import follow
from mesh import clusterconfig, keys
from mesh.addressing import ClusterID, PeerScope
from mesh.clusterconfig import ClusterConfig
from mesh.keys import Kind
from peering.doubt import is_doubtful
from peering.errors import (
    PeerConfigChangedError,
    PeerConfigMissingError,
    PeerVanishedError,
    SilentPeerError,
)
from peering.times import PeerTimes, check_interval

CHUNK = 250  # entries handled before other tasks get a turn: about 10 ms for nodes
CHUNK_OF_IPS = 2000  # these are handled many at once


class Sink(Protocol):
    """Where a peer's entries go. All calls are synchronous: between two awaits the state is consistent."""

    def begin(self, remote: ClusterConfig, kinds: Sequence[Kind]) -> None: ...
    def held(self, kind: Kind) -> Holding: ...
    def apply(self, kind: Kind, delta: Delta, scope: PeerScope) -> None: ...
    def listed(self, kind: Kind, cluster_id: ClusterID) -> None: ...
    def refused(self, key: str, reason: str) -> None: ...
    def revoke(self) -> None: ...
    def drain(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Clock:
    """`nodes` tells the size of the mesh, None where that is not known."""

    now: Callable[[], float]
    nodes: Callable[[], int | None]


class Session:
    """The peer's etcd answered when this was made: that counts as a beat."""

    def __init__(self, name: str, backend: Readable, sink: Sink, times: PeerTimes, clock: Clock) -> None:
        self._name = name
        self._backend = backend
        self._sink = sink
        self._times = times
        self._clock = clock
        self._last_beat = clock.now()
        self._last_write = -math.inf  # when an entry or a beat was seen being written
        self._marks: dict[Kind, list[bytes]] = {}  # what stands for as long as the writer of a kind lives
        self.round_trip = 0.0  # seconds, of the read that found the configuration

    async def cluster_config(self) -> ClusterConfig:
        """Wait for the peer's own description, under the name of our configuration file."""
        backoff = Backoff(self._times.config_retry, self._times.config_retry_cap)
        key = keys.cluster_config(self._name)
        try:
            async with asyncio.timeout(self._times.config):
                while True:
                    asked = self._clock.now()
                    pair = await self._backend.get(key)
                    if pair is not None:
                        self.round_trip = self._clock.now() - asked
                        return clusterconfig.decode(self._name, pair.value)
                    await asyncio.sleep(backoff.next())
        except TimeoutError as error:
            raise PeerConfigMissingError(f"no {key.decode()} within {self._times.config:g} s") from error

    async def run(
        self, remote: ClusterConfig, scope: PeerScope, kinds: Sequence[Kind], synced: Callable[[Kind], None]
    ) -> None:
        """Import `kinds` until an error. `synced` is called for each whenever its list was compared."""
        canaries = {kind: asyncio.Event() for kind in kinds}
        self._marks = {kind: self._marks_of(remote, kind) for kind in kinds}
        self._sink.begin(remote, kinds)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._heartbeat(own=not remote.cached), name=f"{self._name}/heartbeat")
            group.create_task(self._liveness(), name=f"{self._name}/liveness")
            group.create_task(self._config_watch(remote), name=f"{self._name}/config")
            if remote.synced_canaries:
                watch = self._canaries(canaries, cached=remote.cached)
                group.create_task(watch, name=f"{self._name}/canaries")
            for kind, canary in canaries.items():
                if not remote.synced_canaries:
                    canary.set()
                prefix = _prefix(kind, self._name, cached=remote.cached)
                work = self._import(kind, prefix, canary, scope, synced)
                group.create_task(work, name=f"{self._name}/{kind.name.lower()}")

    async def _config_watch(self, accepted: ClusterConfig) -> None:
        """A changed configuration is a new session. A deleted one freezes what we have (`_believe`)."""
        key = keys.cluster_config(self._name)
        stream = follow(self._backend, key, backoff=self._stream_backoff(), single=True)
        async with aclosing(stream) as deltas:
            async for delta in deltas:
                for _, value in delta.upserts:
                    if clusterconfig.decode(self._name, value) != accepted:
                        raise PeerConfigChangedError(f"the configuration of {self._name} changed")

    async def _heartbeat(self, *, own: bool) -> None:
        """Every event but a deletion is a beat, also one that writes the same bytes again (spec 3.5).

        `own`: who beats there also writes the entries.
        """
        # one key is cheaply listed: what waits longer here may miss the beats of a writer that is alive
        backoff = Backoff(self._times.stream_retry, self._times.heartbeat_check_failing)
        while True:
            try:
                async with self._backend.listwatch(keys.HEARTBEAT) as events:
                    async for event in events:
                        if _is_beat(event):
                            self._last_beat = self._clock.now()
                            if isinstance(event, Changes):
                                self._last_write = self._last_beat if own else self._last_write
                                backoff.reset()
            except (TransientError, CompactedError):  # who follows the entries says it in the log
                await asyncio.sleep(backoff.next())

    async def _liveness(self) -> None:
        """Etcd answering is not enough: its writer must be alive too."""
        while True:
            silent = self._clock.now() - self._last_beat
            if silent > self._times.silence:
                raise SilentPeerError(f"no heartbeat for {silent:.0f} s")
            await asyncio.sleep(check_interval(self._times, silent, self._clock.nodes()))

    async def _canaries(self, canaries: Mapping[Kind, asyncio.Event], *, cached: bool) -> None:
        expected = {
            keys.synced_key(kind, self._name, cached=cached): event for kind, event in canaries.items()
        }
        prefix = keys.synced_prefix(self._name)
        async with aclosing(follow(self._backend, prefix, backoff=self._stream_backoff())) as deltas:
            async for delta in deltas:
                for suffix, _ in delta.upserts:
                    if event := expected.get(prefix + suffix):
                        event.set()

    async def _import(
        self,
        kind: Kind,
        prefix: bytes,
        canary: asyncio.Event,
        scope: PeerScope,
        synced: Callable[[Kind], None],
    ) -> None:
        await canary.wait()
        stream = follow(
            self._backend, prefix, held=lambda: self._sink.held(kind), backoff=self._stream_backoff()
        )
        async with aclosing(stream) as deltas:
            async for delta in deltas:
                if delta.upserts and delta.live:
                    self._last_write = self._clock.now()
                if delta.removes:
                    await self._believe(kind, delta.removes)
                await self._apply(kind, delta, scope)
                if delta.synced:
                    self._sink.listed(kind, scope.cluster_id)
                    synced(kind)

    async def _apply(self, kind: Kind, delta: Delta, scope: PeerScope) -> None:
        chunk = CHUNK_OF_IPS if kind is Kind.IPS else CHUNK
        for start in range(0, len(delta.upserts), chunk):
            self._sink.apply(kind, Delta(upserts=delta.upserts[start : start + chunk]), scope)
            if start + chunk < len(delta.upserts):
                await asyncio.sleep(0)
        if delta.removes:
            self._sink.apply(kind, Delta(removes=delta.removes), scope)

    def _marks_of(self, remote: ClusterConfig, kind: Kind) -> list[bytes]:
        canary = keys.synced_key(kind, self._name, cached=remote.cached)
        return [keys.cluster_config(self._name), *([canary] if remote.synced_canaries else [])]

    async def _believe(self, kind: Kind, removes: Collection[bytes]) -> None:
        """Raises PeerVanishedError where it is the writer that has gone, and not what it wrote about."""
        if not is_doubtful(removes, self._sink.held(kind), self._clock.now() - self._last_write):
            return
        for key in self._marks[kind]:
            if not await self._stands(key):
                told = f"{key.decode()} and {len(removes)} {kind.name.lower()} are gone"
                raise PeerVanishedError(f"{told}: their writer has ended, what it told stays")

    async def _stands(self, key: bytes) -> bool:
        """An answer, however long it takes: a peer that never answers again is found by its silence."""
        backoff = self._stream_backoff()
        while True:
            try:
                return await self._backend.get(key) is not None
            except TransientError:
                await asyncio.sleep(backoff.next())

    def _stream_backoff(self) -> Backoff:
        return Backoff(self._times.stream_retry, self._times.stream_retry_cap)


def _is_beat(event: Event) -> bool:
    match event:
        case Listing(pairs):
            return bool(pairs)
        case Changes(_, changes):
            return any(value is not None for _, value in changes)
        case _:
            return False


def _prefix(kind: Kind, name: str, *, cached: bool) -> bytes:
    return keys.cache_prefix(kind, name) if cached else keys.state_prefix(kind, name)
