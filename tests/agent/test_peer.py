"""One peer's life: what is imported, what stays, what goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from agent.ipcache import IPCacheEntry
from aiokit.wait import eventually
from kvstore.config import EtcdConfig
from kvstore.etcd import connect
from kvstore.memory import MemoryBackend
from mesh import keys
from mesh.keys import Kind
from peering.clusterids import ClusterIDs
from peering.status import WAITING
from tests.agent.peerdata import FILE, KINDS, STAMP, PeerData
from tests.agent.peering import FAST, Peering
from tests.agent.values import number, tables
from tests.conftest import RunningEtcd

WEST = PeerData()
WANTED = {
    "10.2.1.5/32": IPCacheEntry(WEST.identity, WEST.node_ip),
    "10.2.1.6/32": IPCacheEntry(WEST.identity, WEST.node_ip),
    "198.18.2.11/32": IPCacheEntry(6, None),
    "10.2.1.1/32": IPCacheEntry(6, WEST.node_ip),
}


@pytest.mark.parametrize("data", [WEST, PeerData(cached=True), PeerData(canaries=False)], ids=str)
async def test_everything_of_a_peer_is_imported_then_it_is_ready(data: PeerData) -> None:
    store, peering = MemoryBackend(), Peering(MemoryBackend(), tables())
    peering.connections.store = store
    await data.publish(store, kinds=KINDS if data.canaries else ())
    async with peering.running():
        await eventually(lambda: peering.is_ready)
        assert peering.entries == WANTED
        assert list(peering.tables.identities.all) == [WEST.identity]
        assert peering.tables.services.remotes("shop/web")["west"].backends.keys() == set(WEST.ips)
    assert peering.connections.open == 0
    assert peering.peer.status().text == WAITING
    assert not peering.is_ready


async def test_a_kind_waits_for_its_own_canary_and_the_others_do_not() -> None:
    store = MemoryBackend()
    peering = Peering(store, tables())
    await WEST.publish(store, kinds=[Kind.NODES, Kind.SERVICES, Kind.IDENTITIES])
    async with peering.running():
        await eventually(lambda: len(peering.peer.status().synced) == 3)
        assert "10.2.1.5/32" not in peering.entries
        assert not peering.is_ready
        await WEST.canary(store, Kind.IPS)
        await eventually(lambda: peering.is_ready)
    assert peering.entries == WANTED


async def test_a_break_removes_nothing_and_the_compare_afterwards_removes_what_went_meanwhile() -> None:
    store = MemoryBackend()
    peering = Peering(store, tables())
    await WEST.publish(store)
    async with peering.running():
        await eventually(lambda: peering.is_ready)
        (client,) = peering.connections.clients
        client.fail_reads(3)
        client.break_streams()
        await store.delete(WEST.prefix(Kind.IPS) + b"10.2.1.6")
        assert peering.entries == WANTED
        await eventually(lambda: "10.2.1.6/32" not in peering.entries)
        assert peering.entries == {k: v for k, v in WANTED.items() if k != "10.2.1.6/32"}
        assert len(peering.connections.clients) == 1  # the streams were opened again, not the connection


async def test_a_replaced_empty_etcd_removes_nothing_until_its_canaries_appear() -> None:
    store = MemoryBackend()
    peering = Peering(store, tables())
    await WEST.publish(store)
    async with peering.running():
        await eventually(lambda: peering.is_ready)
        store.replace_cluster()
        writer = store.another_client()
        await eventually(lambda: len(peering.connections.clients) > 1)
        assert peering.entries == WANTED
        assert peering.peer.status().failures == 1
        smaller = PeerData(ips=("10.2.1.5",))
        await smaller.publish(writer, kinds=[kind for kind in KINDS if kind is not Kind.IPS])
        await eventually(lambda: len(peering.peer.status().synced) == 3)
        assert peering.entries == WANTED
        await smaller.canary(writer, Kind.IPS)
        await eventually(lambda: peering.is_ready)
        assert "10.2.1.6/32" not in peering.entries
        assert "10.2.1.5/32" in peering.entries


async def test_an_etcd_that_is_gone_is_not_called_connected_and_keeps_its_entries(
    etcds: Callable[..., RunningEtcd],
) -> None:
    server = etcds()
    file = f"endpoints: [http://{server.endpoint}]\n".encode()
    peering = Peering(MemoryBackend(), tables(), connect=connect)
    async with connect(EtcdConfig((f"http://{server.endpoint}",))) as writer:
        await WEST.publish(writer)
    async with peering.running(file):
        await eventually(lambda: peering.is_ready)
        server.stop()
        await eventually(lambda: not peering.peer.status().connected)
        assert not peering.is_ready
        await eventually(lambda: "Connection refused" in peering.peer.status().text)
        assert server.endpoint in peering.peer.status().text
        assert peering.entries == WANTED
        server.restart()
        await eventually(lambda: peering.is_ready)


async def test_a_silent_writer_is_reconnected_to_and_keeps_its_entries() -> None:
    store = MemoryBackend()
    peering = Peering(store, tables(), times=FAST)
    await WEST.publish(store)
    async with peering.running():
        await eventually(lambda: peering.peer.status().failures >= 1)
        assert peering.entries == WANTED


async def test_a_beating_writer_is_left_alone() -> None:
    store = MemoryBackend()
    peering = Peering(store, tables(), times=FAST)
    await WEST.publish(store)
    async with peering.running():
        await eventually(lambda: peering.is_ready)
        for beat in range(8):  # twice the accepted silence
            await store.put(keys.HEARTBEAT, STAMP + b"%d" % beat)
            await asyncio.sleep(FAST.silence / 4)
        assert len(peering.connections.clients) == 1
        assert peering.is_ready


async def test_a_bad_value_is_refused_and_counted_and_the_previous_one_stays() -> None:
    store = MemoryBackend()
    peering = Peering(store, tables())
    await WEST.publish(store)
    key = WEST.prefix(Kind.IPS) + b"10.2.1.5"
    async with peering.running():
        await eventually(lambda: peering.is_ready)
        await store.put(key, b"no json")
        foreign = WEST.pairs()[Kind.IPS]["10.2.1.6"].replace(
            str(WEST.identity).encode(), str(number(3, 1)).encode()
        )
        await store.put(WEST.prefix(Kind.IPS) + b"10.2.1.6", foreign)
        await eventually(lambda: sum(peering.state.counts().refusals.values()) == 2)
        assert peering.entries == WANTED
        assert all(reason.startswith("ips: ") for reason in peering.state.counts().refusals)
        await store.delete(key)
        await eventually(lambda: "10.2.1.5/32" not in peering.entries)


async def test_a_peer_with_the_id_of_another_is_refused_until_that_one_is_gone() -> None:
    ids, world = ClusterIDs(hold_down=0.0), tables()
    first, second = MemoryBackend(), MemoryBackend()
    await WEST.publish(first)
    await PeerData(name="north", id=2).publish(second)
    west, north = Peering(first, world, ids=ids), Peering(second, world, name="north", ids=ids)
    async with west.running():
        await eventually(lambda: west.is_ready)
        async with north.running():
            await eventually(lambda: "already used by west" in north.peer.status().text)
            assert north.state.counts().endpoints == 0
            west.peer.drain()
            await eventually(lambda: north.is_ready)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"id": 1}, "assigned to the local cluster"), ({"id": 0}, "reserved"), ({"max_connected": 511}, "511")],
)
async def test_a_cluster_that_cannot_be_a_peer_is_refused_and_says_why(
    changes: dict[str, int], reason: str
) -> None:
    store = MemoryBackend()
    peering = Peering(store, tables())
    await WEST.publish(store)
    await store.put(keys.cluster_config("west"), WEST.config(**changes))
    async with peering.running():
        await eventually(lambda: reason in peering.peer.status().text)
        assert peering.entries == {}


async def test_a_changed_id_drains_everything_before_the_new_one_counts() -> None:
    store = MemoryBackend()
    ids = ClusterIDs(hold_down=0.0)
    peering = Peering(store, tables(), ids=ids)
    await WEST.publish(store)
    async with peering.running():
        await eventually(lambda: peering.is_ready)
        await store.put(keys.cluster_config("west"), WEST.config(id=9))
        await eventually(lambda: ids.held_by("west") == 9)
        # the records still carry the old id: refused, and what we had of them is gone
        await eventually(lambda: peering.entries == {})
        await PeerData(id=9, ips=("10.9.1.5",)).publish(store)
        await eventually(lambda: "10.9.1.5/32" in peering.entries)


async def test_a_lost_configuration_freezes_what_we_have() -> None:
    store = MemoryBackend()
    peering = Peering(store, tables())
    await WEST.publish(store)
    async with peering.running():
        await eventually(lambda: peering.is_ready)
        await store.delete(keys.cluster_config("west"))
        await store.put(WEST.prefix(Kind.IPS) + b"10.2.1.7", b"refused, but seen")
        await eventually(lambda: bool(peering.state.counts().refusals))
        assert peering.is_ready
        assert peering.entries == WANTED


async def test_a_peer_without_configuration_is_asked_again_and_its_status_says_so() -> None:
    store = MemoryBackend()
    peering = Peering(store, tables())
    await store.put(keys.HEARTBEAT, STAMP)
    async with peering.running():
        await eventually(lambda: "no cilium/cluster-config/west within" in peering.peer.status().text)
        status = peering.peer.status()
        assert status.config_required
        assert not status.config_retrieved
        await WEST.publish(store)
        await eventually(lambda: peering.is_ready)


async def test_an_unreadable_configuration_file_is_said_in_the_status() -> None:
    peering = Peering(MemoryBackend(), tables())
    assert peering.peer.status().text == WAITING
    async with peering.running(FILE + b"no-such-key: 1\n"):
        await eventually(lambda: "no-such-key" in peering.peer.status().text)


async def test_draining_one_peer_removes_exactly_its_entries() -> None:
    world = tables()
    stores = {"west": MemoryBackend(), "north": MemoryBackend()}
    north = PeerData(name="north", id=3, node_ip="198.18.3.11", ips=("10.3.1.5",))
    await WEST.publish(stores["west"])
    await north.publish(stores["north"])
    peerings = {name: Peering(store, world, name=name) for name, store in stores.items()}
    async with peerings["west"].running(), peerings["north"].running():
        await eventually(lambda: all(peering.is_ready for peering in peerings.values()))
        assert world.ipcache.wanted.entries.keys() > WANTED.keys()
    peerings["west"].peer.drain()
    assert sorted(world.ipcache.wanted.entries) == ["10.3.1.1/32", "10.3.1.5/32", "198.18.3.11/32"]
    assert list(world.identities.all) == [north.identity]
    assert list(world.services.remotes("shop/web")) == ["north"]
    assert peerings["west"].state.counts().endpoints == 0


async def test_equal_entries_have_equal_digests_in_whatever_order_they_came() -> None:
    store = MemoryBackend()
    await WEST.publish(store)
    one, other = Peering(store, tables()), Peering(store, tables())
    async with one.running():
        await eventually(lambda: one.is_ready)
        await store.delete(WEST.prefix(Kind.IPS) + b"10.2.1.5")
        await store.put(WEST.prefix(Kind.IPS) + b"10.2.1.5", WEST.pairs()[Kind.IPS]["10.2.1.5"])
        async with other.running():
            await eventually(lambda: other.is_ready)
        await eventually(lambda: one.state.counts().endpoints == 2)
    assert one.state.counts().digests == other.state.counts().digests
    assert one.state.counts().digests["ips"] != "0" * 16
