"""The commands that operators run in a container."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
from aiohttp import web

from aiokit.http import serve_tcp
from clustermesh_apiserver.health import KindReport, Report, as_object
from kvstore.etcd import connect
from kvstore.syncstore import SyncStatus
from mesh.keys import HEARTBEAT, Kind
from peering.remotecluster import remote_cluster
from peering.status import PeerStatus
from tests.clustermesh_apiserver.etcd import config
from tests.conftest import RunningEtcd, free_port

READY = PeerStatus(
    connected=True, text="etcd: 1/1 connected", config_retrieved=True, synced=frozenset(Kind), failures=1
)


async def run(*arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "clustermesh_apiserver", *arguments),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, out.decode(), err.decode()


async def test_kvstoremesh_status_is_read_from_the_loopback_api() -> None:
    said = [
        remote_cluster("north", PeerStatus(), {}),
        remote_cluster("west", READY, {Kind.NODES: 3, Kind.IPS: 25}),
    ]

    async def clusters(_: web.Request) -> web.Response:
        return web.json_response(said)

    app = web.Application()
    app.router.add_get("/v1/cluster", clusters)
    async with serve_tcp(app, "127.0.0.1", 0) as port:
        at = ("kvstoremesh-dbg", "status", "--api-serve-addr", f"127.0.0.1:{port}")
        code, text, _ = await run(*at)
        assert code == 0
        assert "1/2 remote clusters ready" in text
        assert "north: not-ready" in text and "west: ready" not in text
        code, text, _ = await run(*at, "--verbose")
        assert "west: ready, 3 nodes, 25 endpoints" in text
        code, text, _ = await run(*at, "-o", "json")
        assert (code, msgspec.json.decode(text)) == (0, said)


async def test_the_exporters_status_says_why_an_entry_is_not_stored() -> None:
    kinds = tuple(
        KindReport(scope, SyncStatus(queued, 3, queued, True, error, "" if queued else "5eed"), 0)
        for scope, queued, error in (("ip/v1", 1, "database space exceeded"), ("nodes/v1", 0, ""))
    )

    async def status(_: web.Request) -> web.Response:
        return web.json_response(as_object(Report("west", kinds, 0.5, 1, "database space exceeded")))

    app = web.Application()
    app.router.add_get("/v1/status", status)
    async with serve_tcp(app, "127.0.0.1", 0) as port:
        code, text, talk = await run("clustermesh-dbg", "status", "--address", f"127.0.0.1:{port}")
    assert code == 0, talk
    assert text.splitlines()[1] == "Heartbeat not written: database space exceeded"
    assert [line.split() for line in text.splitlines()[3:]] == [
        ["ip/v1", "true", "3", "1", "0", "-"],
        ["└", "last", "error:", "database", "space", "exceeded"],
        ["nodes/v1", "true", "3", "0", "0", "5eed"],
    ]


async def test_kvstoremesh_that_is_not_there_is_said_in_one_line() -> None:
    code, text, talk = await run("kvstoremesh-dbg", "status", "--api-serve-addr", f"127.0.0.1:{free_port()}")
    assert (code, text) == (1, "")
    assert "is it running here?" in talk and "Traceback" not in talk


async def test_troubleshoot_walks_to_our_own_etcd_and_to_peers(etcd: RunningEtcd, tmp_path: Path) -> None:
    async with connect(config(etcd)) as backend:
        await backend.put(HEARTBEAT, b"2026-11-26T12:00:00Z")
    path = tmp_path / "own"
    path.write_text(f"endpoints: [http://{etcd.endpoint}]\n")
    code, text, _ = await run("clustermesh-dbg", "troubleshoot", "--etcd-config", str(path))
    assert code == 0, text
    assert "Etcd cluster ID: " in text
    flags = ("--clustermesh-config", str(tmp_path), "-o", "json")
    code, text, _ = await run("kvstoremesh-dbg", "troubleshoot", *flags)
    (said,) = msgspec.json.decode(text)
    assert (code, said["name"], said["ok"]) == (1, "own", False)
    assert said["checks"][-1]["text"].startswith("No cluster configuration of own")
