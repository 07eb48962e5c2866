"""What a peer may say, from its etcd to our tables: every refusal counted, nothing else disturbed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.ipcache import IPCacheEntry, Level, Rank
from aiokit.wait import eventually
from kvstore.memory import MemoryBackend
from mesh import clusterconfig, identity, ipcache, keys, node, service
from mesh.addressing import ClusterID, Identity, ReservedIdentity
from mesh.clusterconfig import ClusterConfig
from mesh.identity import SecurityIdentity
from mesh.ipcache import IPEntry
from mesh.keys import Kind
from mesh.node import Node
from mesh.service import GlobalService
from tests.agent.peerdata import PeerData
from tests.agent.peering import Peering
from tests.agent.values import labels, number, tables

WEST = PeerData()
WEB = GlobalService("west", "shop", "api", cluster_id=ClusterID(2))


def ip(address: str, numeric: int) -> tuple[str, bytes]:
    return ipcache.encode(IPEntry(address, None, Identity(numeric), WEST.node_ip))


@pytest.mark.parametrize(
    ("kind", "pair", "reason"),
    [
        (Kind.NODES, node.encode(Node("n", "north", ClusterID(2))), "unexpected cluster name"),
        (Kind.NODES, node.encode(Node("n", "west", ClusterID(3))), "unexpected cluster ID"),
        (Kind.NODES, ("other", node.encode(Node("n", "west", ClusterID(2)))[1]), "key"),
        (Kind.IDENTITIES, identity.encode(SecurityIdentity(number(3, 1), labels("x", "west"))), "range"),
        (Kind.IDENTITIES, identity.encode(SecurityIdentity(number(2, 1), labels("x", "east"))), "cluster"),
        (Kind.IDENTITIES, (str(number(2, 1)), b"k8s:app=x;"), "missing"),
        (Kind.IDENTITIES, ("4", b"reserved:health=;"), "range"),
        (Kind.IPS, ip("10.2.1.9", number(1, 5)), "range"),
        (Kind.IPS, ip("10.2.1.9", 1 << 24 | 5), "range"),
        (Kind.IPS, ip("10.2.1.9", ReservedIdentity.WORLD), "reserved identity"),
        (Kind.IPS, ("10.2.1.8", ip("10.2.1.9", number(2, 5))[1]), "does not match key"),
        (Kind.SERVICES, service.encode(replace(WEB, cluster="north")), "unexpected cluster name"),
        (Kind.SERVICES, service.encode(replace(WEB, cluster_id=ClusterID(1))), "unexpected cluster ID"),
        (Kind.SERVICES, ("shop/other", service.encode(WEB)[1]), "does not match key"),
    ],
)
async def test_what_a_peer_may_not_claim_is_refused_and_the_rest_is_taken(
    kind: Kind, pair: tuple[str, bytes], reason: str
) -> None:
    store = MemoryBackend()
    peering = Peering(store, tables())
    await store.put(WEST.prefix(kind) + pair[0].encode(), pair[1])
    await WEST.publish(store)
    async with peering.running():
        await eventually(lambda: peering.is_ready)
        ((said, count),) = peering.state.counts().refusals.items()
        assert said.startswith(f"{kind.name.lower()}: ")
        assert reason in said
        assert count == 1
        assert not peering.state.held(kind).holds(pair[0].encode(), pair[1])
        assert peering.state.counts().refused_now == {said: 1}
        assert {f"{address}/32" for address in WEST.ips} <= peering.entries.keys()
        assert list(peering.tables.identities.all) == [WEST.identity]


async def test_a_peers_host_is_a_remote_node_to_us_and_its_own_reserved_addresses_are_taken() -> None:
    store = MemoryBackend()
    peering = Peering(store, tables())
    told = {"10.2.1.31": 1, "10.2.1.34": 4, "10.2.1.36": 6, "10.2.1.37": 7, "10.2.1.38": 8}
    for address, reserved in told.items():
        suffix, value = ip(address, reserved)
        await store.put(WEST.prefix(Kind.IPS) + suffix.encode(), value)
    await WEST.publish(store)
    async with peering.running():
        await eventually(lambda: peering.is_ready)
        found = {address: peering.entries[f"{address}/32"].identity for address in told}
        assert found == {**told, "10.2.1.31": int(ReservedIdentity.REMOTE_NODE)}
        assert peering.state.counts().refusals == {}


async def test_what_we_know_of_an_address_ourselves_is_never_overridden_and_returns_when_we_forget() -> None:
    store, world = MemoryBackend(), tables()
    peering = Peering(store, world)
    ours, rank = IPCacheEntry(int(number(1, 3)), None), Rank(Level.LOCAL_ENDPOINT, owner="shop/web-0")
    world.ipcache.upsert("10.2.1.5/32", rank, ours)
    await WEST.publish(store)
    async with peering.running():
        await eventually(lambda: peering.is_ready)
        assert peering.entries["10.2.1.5/32"] == ours
        await store.put(WEST.prefix(Kind.IPS) + b"10.2.1.5", ip("10.2.1.5", number(2, 9))[1])
        value = ip("10.2.1.5", number(2, 9))[1]
        await eventually(lambda: peering.state.held(Kind.IPS).holds(b"10.2.1.5", value))
        assert peering.entries["10.2.1.5/32"] == ours
        world.ipcache.remove("10.2.1.5/32", rank)
        assert peering.entries["10.2.1.5/32"].identity == number(2, 9)


async def test_a_key_that_is_no_text_is_refused_and_never_confused_with_another() -> None:
    store = MemoryBackend()
    peering = Peering(store, tables())
    value = node.encode(Node("\N{REPLACEMENT CHARACTER}", "west", ClusterID(2)))[1]
    for raw in (b"\xff", b"\xfe"):
        await store.put(WEST.prefix(Kind.NODES) + raw, value)
    await WEST.publish(store)
    async with peering.running():
        await eventually(lambda: peering.is_ready)
        assert peering.state.counts().refusals == {"nodes: the key is not UTF-N": 2}
        assert list(peering.state.nodes) == ["node-1"]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (b'{"id":2', "invalid JSON"),
        (clusterconfig.encode(ClusterConfig(0, True)), "ClusterID N is reserved"),
        (clusterconfig.encode(ClusterConfig(1, True)), "assigned to the local cluster"),
        (clusterconfig.encode(ClusterConfig(300, True)), "is not supported"),
        (clusterconfig.encode(ClusterConfig(2, True, max_connected_clusters=511)), "maxConnectedClusters"),
        (clusterconfig.encode(ClusterConfig(2, True, endpoint_slices_export_mode="new")), "ExportMode"),
    ],
)
async def test_a_refused_configuration_is_counted_like_any_refusal(config: bytes, reason: str) -> None:
    store = MemoryBackend()
    peering = Peering(store, tables())
    await WEST.publish(store)
    await store.put(keys.cluster_config("west"), config)

    def is_refused() -> bool:
        return any(reason in text for text in peering.state.counts().refusals)

    async with peering.running():
        await eventually(is_refused)
        assert all(text.startswith("cluster-config: ") for text in peering.state.counts().refusals)
        assert peering.entries == {}
        await store.put(keys.cluster_config("west"), WEST.config())
        await eventually(lambda: peering.is_ready)


async def test_a_peer_whose_new_configuration_is_refused_loses_its_old_id_and_what_it_said() -> None:
    store = MemoryBackend()
    peering = Peering(store, tables())
    await WEST.publish(store)
    async with peering.running():
        await eventually(lambda: peering.is_ready)
        await store.put(keys.cluster_config("west"), WEST.config(id=1))
        await eventually(lambda: peering.entries == {})
        await eventually(lambda: "assigned to the local cluster" in peering.peer.status().text)
        await store.put(keys.cluster_config("west"), WEST.config())
        await eventually(lambda: peering.is_ready)


async def test_each_reason_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryBackend()
    peering = Peering(store, tables())
    await WEST.publish(store)
    async with peering.running():
        await eventually(lambda: peering.is_ready)
        for last in range(20, 30):
            await store.put(WEST.prefix(Kind.IPS) + b"10.2.1.%d" % last, b"no json")
        await eventually(lambda: sum(peering.state.counts().refusals.values()) == 10)
    assert sum("invalid JSON" in record.getMessage() for record in caplog.records) == 1
