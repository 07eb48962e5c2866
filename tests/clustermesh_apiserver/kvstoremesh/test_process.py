"""The program itself: killed while it copies, and started again on the same etcd."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec

from aiokit.wait import eventually
from mesh.keys import Kind
from tests.clustermesh_apiserver.kvstoremesh.conftest import Mirroring
from tests.clustermesh_apiserver.kvstoremesh.source import Source, entries
from tests.clustermesh_apiserver.test_process import ROOT, START_SECONDS, answers
from tests.conftest import free_port


@asynccontextmanager
async def program(mirroring: Mirroring, log: Path) -> AsyncGenerator[tuple[asyncio.subprocess.Process, int]]:
    """KVStoreMesh as a process, with its health port; killed afterwards."""
    port = free_port()
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "clustermesh_apiserver", "kvstoremesh"),
            *("--cluster-name", "east", "--cluster-id", "1", "--kvstore-lease-ttl", "60s"),
            *("--etcd-endpoint", f"http://{mirroring.own.endpoint}"),
            *("--clustermesh-config", str(mirroring.directory)),
            *("--health-port", str(port), "--api-serve-addr", f"127.0.0.1:{free_port()}"),
            cwd=ROOT,
            stderr=output,
        )
    try:
        yield process, port
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_killed_program_goes_on_where_it_was(
    mirroring: Mirroring, west: Source, tmp_path: Path
) -> None:
    now = entries()
    now[Kind.IPS] |= {b"10.2.%d.%d" % (n // 250, n % 250): b"ip %d" % n for n in range(500)}
    await west.publish(now)
    mirroring.add(west)
    async with program(mirroring, tmp_path / "first.log") as (process, _):
        await mirroring.wait_copied("west", now, START_SECONDS)
        process.kill()
    del now[Kind.IPS][b"10.2.0.7"]
    await west.delete(Kind.IPS, b"10.2.0.7")
    async with program(mirroring, tmp_path / "second.log") as (_, port):
        await mirroring.wait_copied("west", now, START_SECONDS)
        await eventually(lambda: answers(port, "/readyz", 200), START_SECONDS)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/v1/cluster") as answer,
        ):
            said = msgspec.json.decode(await answer.read())
        assert [(cluster["name"], cluster["num-endpoints"]) for cluster in said] == [
            ("west", len(now[Kind.IPS]))
        ]
