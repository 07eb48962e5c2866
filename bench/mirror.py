"""A cluster that reads others through its own KVStoreMesh: its etcd, its proxy, and the program."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench.process import child, python
from bench.scene import Door, running_door
from bench.store import Store, free_port, running_store
from certs import profile
from kvstore import messages as m
from kvstore.methods import RANGE
from mesh import keys
from mesh.keys import Kind

POLL_SECONDS = 0.002
COPIED_SECONDS = 300.0


@dataclass(frozen=True)
class Mirror:
    """`peers` is what KVStoreMesh follows, `local` what the cluster's own agents follow."""

    store: Store
    door: Door
    pid: int
    api: str
    peers: Path
    local: Path

    def follow(self, name: str, configuration: str) -> None:
        """For both: its agents read the copies."""
        (self.peers / name).write_text(configuration)
        (self.local / name).write_text(self.door.configuration())

    async def copied(self, names: Iterable[str], kinds: Iterable[Kind] = tuple(Kind)) -> None:
        """Once so many clusters' canaries stand in our etcd."""
        wanted = [keys.synced_key(kind, name, cached=True) for name in names for kind in kinds]
        async with asyncio.timeout(COPIED_SECONDS):
            for key in wanted:
                await self.stands(key)

    async def stands(self, key: bytes) -> None:
        read, write = RANGE.response.FromString, RANGE.request.SerializeToString
        call = self.store.channel.unary_unary(RANGE.path, write, read)
        async with asyncio.timeout(COPIED_SECONDS):
            while not (await call(m.RangeRequest(key=key, count_only=True))).count:  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)

    async def said(self) -> list[dict[str, Any]]:
        """What KVStoreMesh says of each cluster."""
        async with aiohttp.ClientSession() as session, session.get(f"http://{self.api}/v1/cluster") as answer:
            found: list[dict[str, Any]] = await answer.json()
            return found


@asynccontextmanager
async def running_mirror(folder: Path) -> AsyncGenerator[Mirror]:
    peers, local = folder / "mesh-peers", folder / "agent-peers"
    for each in (peers, local):
        each.mkdir(parents=True)
    api = f"127.0.0.1:{free_port()}"
    async with (
        running_store(folder) as store,
        running_door(folder, store, "east", profile.local("east")) as door,
    ):
        arguments = [
            *("-m", "clustermesh_apiserver", "kvstoremesh", "--cluster-name=east", "--cluster-id=1"),
            *(f"--etcd-endpoint=http://{store.address}", f"--clustermesh-config={peers}"),
            *(f"--api-serve-addr={api}", f"--health-port={free_port()}", "--log-level=warning"),
            "--enable-heartbeat=true",
        ]
        async with child(*python(*arguments), log=folder / "kvstoremesh.log") as process:
            mirror = Mirror(store, door, process.pid, api, peers, local)
            await mirror.stands(keys.HEARTBEAT)  # it is there
            yield mirror
