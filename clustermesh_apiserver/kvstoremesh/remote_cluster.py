"""One peer's copies in our etcd: its cluster-config, its kinds, their canaries (spec 3.8).

The peer's side tells what it has (`peering` calls the `Sink` methods); our store's side, `reflect`, keeps our
etcd equal to that. Promises: the rewritten configuration stands before the first entry; a canary is written
once a kind was stored completely; a lost peer removes nothing. What an earlier life of ours left behind is
taken over like what a lost connection left: kept under a lease of ours until the peer has spoken.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from clustermesh_apiserver.kvstoremesh.cleanup import clear
from clustermesh_apiserver.kvstoremesh.reflector import Reflector
from clustermesh_apiserver.leased_key import write
from kvstore.backend import Backend
from kvstore.lease import LeasePool
from kvstore.meter import Meter
from kvstore.syncstore import SyncStatus, SyncStore
from kvstore.watch import Delta, Holding, Whole
from mesh import clusterconfig
from mesh.addressing import ClusterID, PeerScope
from mesh.clusterconfig import ENDPOINTSLICES_ONLY, ClusterConfig
from mesh.keys import Kind, cluster_config, synced_prefix
from peering.refusals import Refusals, reason_of

REFRESH_SECONDS = 300.0  # how long a foreign change of a configuration's copy may stand
REVOCABLE = (Kind.SERVICES, Kind.ENDPOINTSLICES, Kind.SERVICEEXPORTS)

log = logging.getLogger(__name__)


def mirrored(remote: ClusterConfig) -> tuple[Kind, ...]:
    """The kinds that a peer publishes canaries for, by its own word. Of the others there is nothing."""
    kinds = [Kind.NODES, Kind.IDENTITIES, Kind.IPS]
    if remote.endpoint_slices_export_mode != ENDPOINTSLICES_ONLY:
        kinds.append(Kind.SERVICES)
    if remote.endpoint_slices_export_mode:
        kinds.append(Kind.ENDPOINTSLICES)
    if remote.service_exports_enabled is not None:
        kinds.append(Kind.SERVICEEXPORTS)
    return tuple(kinds)


def copied(remote: ClusterConfig) -> ClusterConfig:
    """What our agents are to read of a peer: they find it in the cache, with canaries for every kind."""
    return replace(remote, cached=True, synced_canaries=True)


class RemoteCluster:
    """A `peering.session.Sink`."""

    def __init__(self, name: str, meter: Meter) -> None:
        self.name = name
        self._meter = meter
        self.reflectors = {kind: Reflector(kind, name) for kind in Kind}
        self._refusals = Refusals()
        self._config_refused = ""  # why it is, now
        self._config = b""
        self._accepted = asyncio.Event()  # there is a configuration
        self._rewrite = asyncio.Event()  # our copy of it is not what it should be
        self._drained = asyncio.Event()
        self._has_begun = False
        self._stores: dict[Kind, SyncStore] = {}

    @property
    def refusals(self) -> Mapping[str, int]:
        return self._refusals.counts

    @property
    def refused_now(self) -> Mapping[str, int]:
        """Of entries none is: they are copied as they are."""
        return {self._config_refused: 1} if self._config_refused else {}

    @property
    def is_stored(self) -> bool:
        """Every kind was copied completely, by its canary."""
        return len(self._stores) == len(Kind) and all(s.synced.is_set() for s in self._stores.values())

    def canaries(self) -> set[bytes]:
        """Those that stand in our etcd."""
        return {self.reflectors[kind].canary for kind, s in self._stores.items() if s.status().synced}

    def stored(self) -> Mapping[Kind, SyncStatus]:
        """Empty while there is no session with our etcd."""
        return {kind: store.status() for kind, store in self._stores.items()}

    # what the peer tells

    def begin(self, remote: ClusterConfig, kinds: Sequence[Kind]) -> None:
        self._has_begun = True
        self._config_refused = ""
        self._set_config(clusterconfig.encode(copied(remote)))
        for kind, reflector in self.reflectors.items():
            if kind not in kinds:  # it has nothing of this kind: that is complete, too
                reflector.revoke()
                reflector.listed()

    def held(self, kind: Kind) -> Holding:
        return Whole(self.reflectors[kind].held)

    def apply(self, kind: Kind, delta: Delta, _scope: PeerScope) -> None:
        self.reflectors[kind].apply(delta)

    def listed(self, kind: Kind, _cluster_id: ClusterID) -> None:
        self.reflectors[kind].listed()

    def refused(self, key: str, reason: str) -> None:
        self._config_refused = reason_of(reason)
        if self._refusals.add(reason) is not None:
            log.warning("entry refused peer=%s key=%s reason=%s", self.name, key, reason)

    def revoke(self) -> None:
        for kind in REVOCABLE:
            self.reflectors[kind].revoke()

    def drain(self) -> None:
        """It is another cluster by now: what stands of the old one goes, canaries first."""
        for reflector in self.reflectors.values():
            reflector.drain()
        self._accepted.clear()
        self._drained.set()

    # what our etcd is to hold

    async def reflect(self, backend: Backend, leases: LeasePool) -> None:
        """Keep our etcd's copies as the peer has them, until cancelled. Raises KVStoreError."""
        await self._take_over(backend, leases)
        while True:
            await self._accepted.wait()
            self._drained.clear()
            self._rewrite.clear()
            await write(backend, leases, cluster_config(self.name), self._config)
            await leases.inherit(synced_prefix(self.name), ())  # from here on the stores see to it
            await self._keep(backend, leases)
            await clear(backend, leases, self.name)

    async def _keep(self, backend: Backend, leases: LeasePool) -> None:
        """Until the peer is drained."""
        self._stores = {
            kind: SyncStore(
                backend,
                reflector.prefix,
                leases,
                synced_key=reflector.canary,
                propagation=self._meter.propagation(reflector.prefix, self.name),
            )
            for kind, reflector in self.reflectors.items()
        }
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._keep_config(backend, leases), name=f"{self.name}/config")]
                for kind, store in self._stores.items():
                    self.reflectors[kind].attach(store)
                    tasks.append(group.create_task(store.run(), name=f"{self.name}/{kind.name.lower()}"))
                await self._drained.wait()
                for task in tasks:
                    task.cancel()
        finally:
            for reflector in self.reflectors.values():
                reflector.attach(None)
            self._stores = {}

    async def _keep_config(self, backend: Backend, leases: LeasePool) -> None:
        key = cluster_config(self.name)

        def lost(keys: list[bytes]) -> None:
            if key in keys:
                self._rewrite.set()

        with leases.reporting_losses(lost):
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(REFRESH_SECONDS):
                        await self._rewrite.wait()
                self._rewrite.clear()
                await write(backend, leases, key, self._config)

    async def _take_over(self, backend: Backend, leases: LeasePool) -> None:
        """Our etcd may have outlived us: what it has of a peer that has not spoken yet is not to expire, nor
        what it has while it takes nothing new."""
        config = await backend.get(cluster_config(self.name))
        synced = await backend.get_prefix(synced_prefix(self.name))
        canaries = {pair.key for pair in synced}
        found = {
            kind: await backend.get_prefix(reflector.prefix) for kind, reflector in self.reflectors.items()
        }
        standing = [*synced, *([config] if config else ()), *(p for pairs in found.values() for p in pairs)]
        await leases.inherit(synced_prefix(self.name), {pair.lease for pair in standing})
        if self._has_begun or config is None:
            return
        for kind, reflector in self.reflectors.items():
            start = len(reflector.prefix)
            reflector.apply(Delta(upserts=[(pair.key[start:], pair.value) for pair in found[kind]]))
            if reflector.canary in canaries:
                reflector.listed()
        self._set_config(config.value)

    def _set_config(self, value: bytes) -> None:
        if value != self._config:
            self._config = value
            self._rewrite.set()
        self._accepted.set()
