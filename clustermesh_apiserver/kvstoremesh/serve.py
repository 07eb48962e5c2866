"""KVStoreMesh's composition root: the only place where its concrete parts meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

from prometheus_client.core import Metric

from aiokit.http import serve_tcp
from aiokit.signals import wait_terminated
from clustermesh_apiserver.kvstoremesh import api
from clustermesh_apiserver.kvstoremesh.config import MirrorConfig
from clustermesh_apiserver.kvstoremesh.kvstoremesh import KVStoreMesh
from clustermesh_apiserver.kvstoremesh.metrics import metrics
from kvstore.etcd import connect as connect_etcd


async def serve(config: MirrorConfig) -> None:
    """Copy until the process is asked to end; then leave every key where it is."""
    mesh = KVStoreMesh(config, connect=lambda: connect_etcd(config.etcd), connect_peer=connect_etcd)

    def collect() -> Iterable[Metric]:
        return metrics(mesh.report(), mesh.meter)

    async with (
        serve_tcp(api.application(mesh.report), config.api_host, config.api_port),
        serve_tcp(api.probes(mesh.report, collect), config.health_host, config.health_port),
        running(mesh),
    ):
        await wait_terminated()


@asynccontextmanager
async def running(mesh: KVStoreMesh) -> AsyncGenerator[None]:
    """Copy while the block runs. A bug ends the block."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(mesh.run(), name="kvstoremesh")
        yield
        task.cancel()
