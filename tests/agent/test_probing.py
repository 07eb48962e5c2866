"""Real sockets: a node that answers, one that refuses, one that is silent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from agent import healthaddress
from agent.ipam import Addresses
from agent.ipcache import IPCacheEntry, Level, Rank, host_prefix
from agent.nodehealth import DataPlane
from agent.probing import Mesh, Probing, answers
from agent.status import node_probes
from agent.tables import Tables
from aiokit.wait import eventually
from mesh.addressing import ClusterID, ReservedIdentity
from mesh.localservice import Frontend, LocalService
from mesh.matching import ServicePort
from mesh.node import Node, NodeAddress
from mesh.service import GlobalService, Port
from tests.agent.values import NODE

HTTP = {"http": Port("TCP", 8080)}
FRONT = Frontend("172.20.1.5", 80, "TCP")
REFUSING = "127.0.0.1"
SILENT = "127.77.0.1"
KEYS = ("health-endpoint", "health-endpoint-ipv6")


def full_listener() -> tuple[socket.socket, socket.socket, int]:
    """A port whose queue is full: connections to it are neither taken nor refused."""
    listener = socket.socket()
    listener.bind((SILENT, 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    waiting = socket.create_connection((SILENT, port))
    return listener, waiting, port


def tables() -> Tables:
    made = Tables(NODE)
    ports = (ServicePort("http", "TCP", 80),)
    annotations = {"service.cilium.io/global": "true"}
    made.services.set_local("shop/web", LocalService("shop", "web", annotations, (FRONT.ip,), ports))
    for ip, node in (("10.2.1.5", REFUSING), ("10.2.2.5", SILENT)):
        rank = Rank(Level.PEER_ENDPOINT, "west")
        made.ipcache.upsert(host_prefix(ip), rank, IPCacheEntry(131073, node))
    told = dict.fromkeys(("10.2.1.5", "10.2.2.5"), HTTP)
    made.services.set_remote(
        "west", "shop/web", GlobalService("west", "shop", "web", {}, told, cluster_id=ClusterID(2))
    )
    made.services.start()
    return made


def node(ip: str, cluster: str, health: str = "") -> Node:
    return Node(f"node-{ip}", cluster, ClusterID(2), (NodeAddress("InternalIP", ip),), ipv4_health_ip=health)


@asynccontextmanager
async def probing(
    made: Tables, port: int, clusters: Mapping[str, str] | None = None
) -> AsyncGenerator[Probing]:
    known = dict.fromkeys((REFUSING, SILENT), "west") if clusters is None else clusters
    mesh = Mesh(lambda asked: {ip: node(ip, of) for ip, of in known.items() if ip in asked}, set)
    each = Probing(made, mesh, port=port, silence=0.3)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(each.run(), name="probing")
        yield each
        task.cancel()


def used(made: Tables) -> list[str]:
    return [backend.ip for backend in made.services.wanted.entries[FRONT]]


async def test_a_connection_or_a_refusal_is_an_answer_and_silence_is_none() -> None:
    listener, waiting, port = full_listener()
    with listener, waiting:
        assert await answers("127.0.0.1", port, 0.5)
        assert not await answers(SILENT, port, 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert await answers("127.0.0.1", server.getsockname()[1], 0.5)


async def test_a_node_and_its_health_endpoint_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    listener, waiting, port = full_listener()
    monkeypatch.setattr(healthaddress, "PORT", 1)  # refused there: an answer
    made = tables()
    rank = Rank(Level.PEER_NODE, "west", "node-1")
    made.ipcache.upsert(host_prefix(SILENT), rank, IPCacheEntry(int(ReservedIdentity.HEALTH), REFUSING))
    mesh = Mesh(lambda _: {REFUSING: node(REFUSING, "west", SILENT)}, set)
    each = Probing(made, mesh, port=1, silence=0.3)

    def told() -> list[str]:
        each_node = node_probes(each.nodes, each.withdrawn, str, each.health_addresses)["nodes"]
        [node] = [node for node in each_node if node["address"] == REFUSING]
        endpoint = node["health-endpoint"] or {"address": "", "state": "not asked yet"}
        return [node["state"], endpoint["address"], endpoint["state"]]

    with listener, waiting:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(each.run(), name="probing")
            await eventually(lambda: each.health_addresses == {REFUSING: Addresses(SILENT)})
            await eventually(lambda: told() == ["reachable", SILENT, "reachable"])
            monkeypatch.setattr(healthaddress, "PORT", port)
            await eventually(lambda: told() == ["reachable", SILENT, "silent"])
            status = each.status("west")
            assert (status.states, status.endpoint_states) == ({"reachable": 1}, {"silent": 1})
            task.cancel()


@pytest.mark.parametrize("ipv6", [True, False])
async def test_a_health_endpoint_is_asked_at_both_addresses_by_who_has_both_families(
    monkeypatch: pytest.MonkeyPatch, ipv6: bool
) -> None:
    monkeypatch.setattr(healthaddress, "PORT", 1)  # refused there: an answer
    made = tables()
    rank = Rank(Level.PEER_NODE, "west", "node-1")
    for address in (SILENT, "::1"):
        entry = IPCacheEntry(int(ReservedIdentity.HEALTH), REFUSING)
        made.ipcache.upsert(host_prefix(address), rank, entry)
    peer = replace(node(REFUSING, "west", SILENT), ipv6_health_ip="::1")
    each = Probing(made, Mesh(lambda _: {REFUSING: peer}, set), port=1, silence=0.3, ipv6=ipv6)

    def told() -> dict[str, object]:
        [found] = [
            found
            for found in node_probes(each.nodes, each.withdrawn, str, each.health_addresses)["nodes"]
            if found["address"] == REFUSING
        ]
        return {key: found[key] and (found[key]["address"], found[key]["state"]) for key in KEYS}

    async with asyncio.TaskGroup() as group:
        task = group.create_task(each.run(), name="probing")
        await eventually(lambda: bool(each.health_addresses))
        six = ("::1", "reachable") if ipv6 else None
        await eventually(lambda: told() == dict(zip(KEYS, ((SILENT, "reachable"), six), strict=True)))
        task.cancel()


@pytest.mark.parametrize(
    "entry", [None, IPCacheEntry(4, None), IPCacheEntry(4, SILENT), IPCacheEntry(6, REFUSING)]
)
async def test_only_what_the_data_path_takes_for_the_node_s_health_endpoint_is_asked(
    entry: IPCacheEntry | None,
) -> None:
    made = tables()
    if entry is not None:
        made.ipcache.upsert(host_prefix(SILENT), Rank(Level.PEER_NODE, "west", "node-1"), entry)
    each = Probing(made, Mesh(lambda _: {REFUSING: node(REFUSING, "west", SILENT)}, set), port=1, silence=0.3)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(each.run(), name="probing")
        await eventually(lambda: REFUSING in each.nodes and each.nodes[REFUSING].answered)
        assert each.health_addresses == {REFUSING: Addresses()}
        assert each.nodes[REFUSING].endpoint is None
        task.cancel()


async def test_backends_behind_a_silent_node_are_withdrawn_and_return_with_it() -> None:
    listener, waiting, port = full_listener()
    made = tables()
    with listener, waiting:
        async with probing(made, port) as each:
            await eventually(lambda: used(made) == ["10.2.1.5"])
            status = each.status("west")
            assert (status.data_plane, status.nodes, status.backends) == (DataPlane.PARTIAL, 2, 1)
            assert status.withdrawn.keys() == {SILENT}
            told = node_probes(each.nodes, each.withdrawn, lambda address: f"node at {address}", {})
            states = {node["name"]: (node["state"], bool(node["withdrawn"])) for node in told["nodes"]}
            assert states == {
                f"node at {REFUSING}": ("reachable", False),
                f"node at {SILENT}": ("silent", True),
            }
            assert told["reachable"] == 1
            assert 0 < each.nodes[REFUSING].seconds < 1
            listener.close()
            waiting.close()
            await eventually(lambda: used(made) == ["10.2.1.5", "10.2.2.5"])
            assert each.status("west").data_plane is DataPlane.OK


async def test_a_node_is_placed_as_soon_as_its_peer_has_told_of_it() -> None:
    clusters = dict[str, str]()  # after a restart: the kernel's backends come before the peer's nodes
    with socket.create_server((REFUSING, 0)) as server:
        async with probing(tables(), server.getsockname()[1], clusters) as each:
            await eventually(lambda: bool(each.nodes) and all(one.answered for one in each.nodes.values()))
            assert each.status("west").data_plane is DataPlane.UNKNOWN
            clusters |= dict.fromkeys((REFUSING, SILENT), "west")
            await eventually(lambda: each.status("west").data_plane is DataPlane.OK)


async def test_a_new_backend_behind_a_silent_node_is_withdrawn_too() -> None:
    listener, waiting, port = full_listener()
    made = tables()
    with listener, waiting:
        async with probing(made, port) as each:
            await eventually(lambda: used(made) == ["10.2.1.5"])
            rank = Rank(Level.PEER_ENDPOINT, "west")
            made.ipcache.upsert(host_prefix("10.2.2.6"), rank, IPCacheEntry(131073, SILENT))
            told = dict.fromkeys(("10.2.1.5", "10.2.2.5", "10.2.2.6"), HTTP)
            service = GlobalService("west", "shop", "web", {}, told, cluster_id=ClusterID(2))
            made.services.set_remote("west", "shop/web", service)
            await eventually(lambda: each.status("west").backends == 2)
            assert used(made) == ["10.2.1.5"]
