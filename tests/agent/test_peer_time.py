"""A peer's long times: silence, the cache TTL, many peers at once. Virtual time, default times."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from agent.peerstate import PeerState
from aiokit.tokenbucket import TokenBucket
from aiokit.wait import eventually
from kvstore.backend import Readable
from kvstore.config import EtcdConfig
from kvstore.errors import TransientError
from kvstore.memory import MemoryBackend
from mesh import clusterconfig, endpointslice, keys
from mesh.addressing import ClusterID
from mesh.clusterconfig import ENDPOINTSLICES_ONLY, SERVICES_AND_ENDPOINTSLICES, ClusterConfig
from mesh.endpointslice import ClusterEndpointSlice
from mesh.keys import Kind
from mesh.servicemode import ServiceMode, imported
from mesh.sliceendpoint import Conditions, Endpoint, EndpointPort
from peering.clusterids import HOLD_DOWN_SECONDS, ClusterIDs
from peering.peer import Peer
from peering.times import PeerTimes, check_interval
from tests import virtual
from tests.agent.peerdata import FILE, STAMP, PeerData
from tests.agent.values import EAST, tables

WEST = PeerData()
SERVICE = "shop/web"


class Wire:
    """The way to a peer's etcd: attempts are written down; it may be cut."""

    def __init__(self) -> None:
        self.store = MemoryBackend()
        self.is_cut = False
        self.attempts: list[float] = []
        self.clients: list[MemoryBackend] = []

    @asynccontextmanager
    async def __call__(self, config: EtcdConfig) -> AsyncIterator[Readable]:
        self.attempts.append(virtual.now())
        if self.is_cut:
            raise TransientError("no route")
        self.clients.append(self.store.another_client())
        yield self.clients[-1]

    async def beat(self) -> None:
        """The writer's heartbeat, while the wire is whole."""
        while True:
            if not self.is_cut:
                await self.store.put(keys.HEARTBEAT, STAMP + b"%d" % int(virtual.now()))
            await asyncio.sleep(60)


class West:
    """A peer, by default west, in virtual time, beating."""

    def __init__(
        self,
        *,
        name: str = "west",
        ids: ClusterIDs | None = None,
        mode: ServiceMode = ServiceMode.PREFER_LEGACY,
        **settings: Any,
    ) -> None:
        self.wire = Wire()
        self.tables = tables()
        self.state = PeerState(name, self.tables)
        self.peer = Peer(
            name,
            sink=self.state,
            connect=self.wire,
            ids=ids or ClusterIDs(now=virtual.now),
            local=EAST,
            now=virtual.now,
            wall=virtual.now,
            kinds=partial(imported, mode),
            **settings,
        )

    @property
    def backends(self) -> set[str]:
        remotes = self.tables.services.remotes(SERVICE)
        return set(remotes["west"].backends) if remotes else set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.peer.run(FILE), name="peer"),
                group.create_task(self.wire.beat(), name="beat"),
            ]
            yield
            for task in tasks:
                task.cancel()

    async def ready(self) -> None:
        await eventually(lambda: self.peer.status().is_ready, timeout=60, interval=0.1)

    async def lost(self) -> float:
        """Cut the wire; when the peer noticed."""
        self.wire.is_cut = True
        await eventually(lambda: not self.peer.status().connected, timeout=600, interval=0.5)
        return virtual.now()


def with_west(test: Coroutine[Any, Any, None]) -> None:
    virtual.run(test)


def test_a_heartbeat_is_watched_for_and_its_silence_found_within_the_check_interval() -> None:
    async def silent() -> None:
        west = West()
        await WEST.publish(west.wire.store)
        async with west.running():
            await west.ready()
            await asyncio.sleep(3600)
            assert len(west.wire.attempts) == 1  # an hour of beats: nothing to be alarmed about
            last_beat = 3600.0
            assert 120 < await west.lost() - last_beat <= 120 + 30 + 1
            assert west.peer.status().failures == 1
            assert "no heartbeat for" in west.peer.status().text
            assert west.backends == set(WEST.ips)

    with_west(silent())


def test_a_beat_is_a_beat_whatever_it_writes_and_a_deletion_is_none() -> None:
    async def constant() -> None:
        west = West()
        await WEST.publish(west.wire.store)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(west.peer.run(FILE), name="peer")
            await west.ready()
            for _ in range(60):
                await asyncio.sleep(60)
                await west.wire.store.put(keys.HEARTBEAT, STAMP)
                for client in west.wire.clients:
                    client.break_streams()
            assert len(west.wire.attempts) == 1
            await asyncio.sleep(60)
            await west.wire.store.delete(keys.HEARTBEAT)
            await eventually(lambda: "no heartbeat" in west.peer.status().text, timeout=100)
            task.cancel()

    with_west(constant())


@pytest.mark.parametrize(
    ("nodes", "healthy", "failing"),
    [(None, 30.0, 5.0), (1, 20.8, 3.47), (0, 20.8, 3.47), (128, 145.8, 24.3), (8192, 270.3, 45.1)],
)
def test_the_check_interval_grows_with_the_mesh(nodes: int | None, healthy: float, failing: float) -> None:
    times = PeerTimes()
    assert check_interval(times, 1.0, nodes) == pytest.approx(healthy, abs=0.1)
    assert check_interval(times, 100.0, nodes) == pytest.approx(failing, abs=0.1)


def test_a_lost_peers_services_stay_for_ever_by_default() -> None:
    async def away() -> None:
        west = West()
        await WEST.publish(west.wire.store)
        async with west.running():
            await west.ready()
            await west.lost()
            await asyncio.sleep(86400)
            assert west.backends == set(WEST.ips)
            assert "10.2.1.5/32" in west.tables.ipcache.wanted.entries

    with_west(away())


def test_after_the_cache_ttl_services_go_and_addresses_stay_and_all_returns_with_the_peer() -> None:
    async def away() -> None:
        west = West(times=PeerTimes(cache_ttl=300.0))
        await WEST.publish(west.wire.store)
        async with west.running():
            await west.ready()
            await west.lost()
            await asyncio.sleep(299)
            assert west.backends == set(WEST.ips)
            await asyncio.sleep(2)
            assert west.backends == set()
            assert "10.2.1.5/32" in west.tables.ipcache.wanted.entries
            assert west.tables.identities.all.keys() == {WEST.identity}
            assert west.peer.status().revocations == 1
            west.wire.is_cut = False
            await west.ready()
            assert west.backends == set(WEST.ips)

    with_west(away())


def test_a_peer_that_is_back_before_the_ttl_loses_nothing() -> None:
    async def away() -> None:
        west = West(times=PeerTimes(cache_ttl=300.0))
        await WEST.publish(west.wire.store)
        async with west.running():
            await west.ready()
            for _ in range(3):  # each absence has the whole time to itself
                await west.lost()
                await asyncio.sleep(200)
                west.wire.is_cut = False
                await west.ready()
                await asyncio.sleep(150)
                assert west.backends == set(WEST.ips)
            await asyncio.sleep(1000)
            assert west.backends == set(WEST.ips)

    with_west(away())


def test_attempts_wait_a_second_more_each_time_up_to_a_minute() -> None:
    async def refused() -> None:
        west = West()
        west.wire.is_cut = True
        async with west.running():
            await asyncio.sleep(4000)
        gaps = [
            later - first for first, later in zip(west.wire.attempts, west.wire.attempts[1:], strict=False)
        ]
        assert all(abs(gap - min(n, 60)) <= 0.2 * min(n, 60) + 0.01 for n, gap in enumerate(gaps, 1))
        assert len(gaps) > 90
        assert west.peer.status().failures == 0  # never connected

    with_west(refused())


def test_many_peers_share_one_budget_of_attempts() -> None:
    async def crowd() -> list[float]:
        budget = TokenBucket(10.0, 20)
        peers = [West(budget=budget) for _ in range(100)]
        async with AsyncExitStack() as stack:
            for west in peers:
                west.wire.is_cut = True
                await stack.enter_async_context(west.running())
            await asyncio.sleep(30)
        return sorted(at for west in peers for at in west.wire.attempts)

    attempts = virtual.run(crowd())
    assert len(attempts) > 250
    for start in range(30):
        inside = [at for at in attempts if start <= at < start + 1]
        assert len(inside) <= 10 + (20 if start == 0 else 1)


def test_the_id_of_a_removed_peer_rests_before_another_peer_gets_it() -> None:
    async def handed_on() -> None:
        ids = ClusterIDs(now=virtual.now)
        west, north = West(ids=ids), West(ids=ids, name="north")
        await WEST.publish(west.wire.store)
        await PeerData(name="north", ips=("10.2.1.9",)).publish(north.wire.store)
        async with west.running():
            await west.ready()
        async with north.running():
            await eventually(lambda: "already used by west" in north.peer.status().text, interval=0.1)
            removed = virtual.now()
            west.peer.drain()
            await north.ready()
            assert virtual.now() - removed >= HOLD_DOWN_SECONDS
            assert north.tables.ipcache.wanted.entries.keys() >= {"10.2.1.9/32"}

    with_west(handed_on())


def piece() -> tuple[bytes, bytes]:
    suffix, value = endpointslice.encode(
        ClusterEndpointSlice(
            "west",
            ClusterID(2),
            "shop",
            "web-1",
            {"kubernetes.io/service-name": "web"},
            endpoints=(Endpoint(("10.2.1.77",), Conditions(ready=True)),),
            ports=(EndpointPort("http", "TCP", 8080),),
        )
    )
    return keys.state_prefix(Kind.ENDPOINTSLICES, "west") + suffix.encode(), value


@pytest.mark.parametrize(
    ("mode", "exported", "backends"),
    [
        (ServiceMode.PREFER_LEGACY, "", set(WEST.ips)),
        (ServiceMode.PREFER_LEGACY, SERVICES_AND_ENDPOINTSLICES, set(WEST.ips)),
        (ServiceMode.PREFER_LEGACY, ENDPOINTSLICES_ONLY, {"10.2.1.77"}),
        (ServiceMode.PREFER_ENDPOINTSLICE, "", set()),
        (ServiceMode.PREFER_ENDPOINTSLICE, SERVICES_AND_ENDPOINTSLICES, {"10.2.1.77"}),
        (ServiceMode.PREFER_ENDPOINTSLICE, ENDPOINTSLICES_ONLY, {"10.2.1.77"}),
        (ServiceMode.ONLY_ENDPOINTSLICE, "", set()),
        (ServiceMode.ONLY_ENDPOINTSLICE, SERVICES_AND_ENDPOINTSLICES, {"10.2.1.77"}),
    ],
)
def test_backends_come_from_what_the_mode_and_the_peer_agree_on(
    mode: ServiceMode, exported: str, backends: set[str]
) -> None:
    async def read() -> None:
        west = West(mode=mode)
        store = west.wire.store
        await WEST.publish(store, kinds=[*WEST.pairs(), Kind.ENDPOINTSLICES])
        await store.put(*piece())
        config = ClusterConfig(2, True, endpoint_slices_export_mode=exported)
        await store.put(keys.cluster_config("west"), clusterconfig.encode(config))
        async with west.running():
            await west.ready()
            assert west.backends == backends
            assert west.state.is_listed

    with_west(read())


def test_a_peer_that_no_longer_has_what_we_read_loses_its_backends_and_nothing_else() -> None:
    async def withdraw() -> None:
        west = West(mode=ServiceMode.ONLY_ENDPOINTSLICE)
        store = west.wire.store
        await WEST.publish(store, kinds=[*WEST.pairs(), Kind.ENDPOINTSLICES])
        await store.put(*piece())
        config = ClusterConfig(2, True, endpoint_slices_export_mode=SERVICES_AND_ENDPOINTSLICES)
        await store.put(keys.cluster_config("west"), clusterconfig.encode(config))
        async with west.running():
            await west.ready()
            assert west.backends == {"10.2.1.77"}
            plain = replace(config, endpoint_slices_export_mode="")
            await store.put(keys.cluster_config("west"), clusterconfig.encode(plain))
            await eventually(lambda: not west.backends, timeout=60)
            await west.ready()
            assert "10.2.1.5/32" in west.tables.ipcache.wanted.entries

    with_west(withdraw())


def test_a_peer_that_changes_over_to_slices_is_never_without_backends() -> None:
    async def change_over() -> None:
        west = West()
        store = west.wire.store
        await WEST.publish(store)
        await store.put(*piece())
        config = ClusterConfig(2, True, endpoint_slices_export_mode=ENDPOINTSLICES_ONLY)
        async with west.running():
            await west.ready()
            await store.put(keys.cluster_config("west"), clusterconfig.encode(config))
            await eventually(lambda: Kind.ENDPOINTSLICES in west.peer.status().kinds, timeout=60)
            await asyncio.sleep(600)  # its canary is not there yet
            assert west.backends == set(WEST.ips)
            await WEST.canary(store, Kind.ENDPOINTSLICES)
            await west.ready()
            assert west.backends == {"10.2.1.77"}
            assert not list(west.state.held(Kind.SERVICES))
            plain = replace(config, endpoint_slices_export_mode="")
            await store.put(keys.cluster_config("west"), clusterconfig.encode(plain))
            await eventually(lambda: west.backends == set(WEST.ips), timeout=60)
            assert not list(west.state.held(Kind.ENDPOINTSLICES))

    with_west(change_over())
