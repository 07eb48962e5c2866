"""Real sockets: a backend that answers, a closed one, a silent one; and a KVStoreMesh that is asked."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import web

from agent.backendhealth import Answer
from agent.backendprobing import BackendProbing, asked
from agent.ipcache import IPCacheEntry, Level, Rank, host_prefix
from agent.mirrorwatch import MirrorWatch
from agent.tables import Tables
from aiokit.http import serve_tcp
from aiokit.wait import eventually
from mesh.addressing import ClusterID
from mesh.localservice import Frontend, LocalService
from mesh.matching import ServicePort
from mesh.service import GlobalService, Port
from tests.agent.test_probing import SILENT, full_listener
from tests.agent.values import NODE

FRONT = Frontend("172.20.1.5", 80, "TCP")
ALIVE, CLOSED = "127.0.0.1", "127.0.0.2"


def tables(port: int) -> Tables:
    made = Tables(NODE)
    annotations = {"service.cilium.io/global": "true"}
    ports = (ServicePort("http", "TCP", 80),)
    made.services.set_local("shop/web", LocalService("shop", "web", annotations, (FRONT.ip,), ports))
    told = {ip: {"http": Port("TCP", port)} for ip in (ALIVE, CLOSED, SILENT)}
    for ip in told:
        made.ipcache.upsert(
            host_prefix(ip), Rank(Level.PEER_ENDPOINT, "west"), IPCacheEntry(131073, "192.0.2.1")
        )
    made.services.set_remote(
        "west", "shop/web", GlobalService("west", "shop", "web", {}, told, cluster_id=ClusterID(2))
    )
    made.services.start()
    return made


def used(made: Tables) -> list[str]:
    return [backend.ip for backend in made.services.wanted.entries[FRONT]]


@asynccontextmanager
async def probing(made: Tables, lost: set[str]) -> AsyncGenerator[BackendProbing]:
    each = BackendProbing(made, lambda: lost, round_seconds=0.05, timeout=0.1)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(each.run(), name="backends")
        yield each
        task.cancel()


async def test_what_a_connection_comes_to() -> None:
    listener, waiting, port = full_listener()
    with listener, waiting, socket.create_server((ALIVE, port)):
        assert await asked(ALIVE, port, 1) is Answer.OPEN
        assert await asked(CLOSED, port, 1) is Answer.CLOSED
        assert await asked(SILENT, port, 0.05) is Answer.SILENT
        assert await asked("255.255.255.255", port, 1) in (Answer.NONE, Answer.SILENT)


async def test_dead_backends_are_withdrawn_only_while_nobody_speaks_for_them() -> None:
    listener, waiting, port = full_listener()
    server = await asyncio.start_server(lambda _, writer: writer.close(), ALIVE, port)
    async with server:
        made, lost = tables(port), set[str]()
        async with probing(made, lost) as each:
            assert set(used(made)) == {ALIVE, CLOSED, SILENT}
            lost.add("west")
            await eventually(lambda: used(made) == [ALIVE])
            assert each.withdrawn.keys() == {CLOSED, SILENT}
            lost.clear()
            await eventually(lambda: set(used(made)) == {ALIVE, CLOSED, SILENT})
    listener.close()
    waiting.close()


async def test_a_service_of_which_all_backends_are_dead_keeps_them() -> None:
    made = tables(port=1)
    async with probing(made, {"west"}) as each:
        await eventually(lambda: len(each.withdrawn) == 3)
        assert set(used(made)) == {ALIVE, CLOSED, SILENT}


async def test_kvstoremesh_says_whom_it_has_lost_and_silence_changes_nothing() -> None:
    said = [{"name": "west", "ready": False}, {"name": "north", "ready": True}]

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(said)

    with socket.create_server((ALIVE, 0)) as free:
        port = free.getsockname()[1]
    app = web.Application()
    app.router.add_get("/v1/cluster", answer)
    addresses = [ALIVE]
    watch = MirrorWatch(lambda: addresses, lambda: 1, port=port, ask_seconds=0.02)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch.run(), name="mirror")
        async with serve_tcp(app, ALIVE, port):
            await eventually(lambda: watch.lost == {"west"})
            said[0]["ready"] = True
            await eventually(lambda: not watch.lost)
            said[0]["ready"] = False
            await eventually(lambda: watch.lost == {"west"})
        asked_before = watch.asks
        await eventually(lambda: watch.asks > asked_before + 1)
        assert watch.lost == {"west"}
        addresses.clear()  # nobody reads copies any more
        await eventually(lambda: not watch.lost)
        task.cancel()
