"""KVStoreMesh's composition root: the only place where its concrete parts meet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

from prometheus_client.core import Metric

from aiokit import probes
from aiokit.http import serve_tcp
from aiokit.signals import wait_terminated
from certs import expiry
from clustermesh_apiserver.kvstoremesh import api
from clustermesh_apiserver.kvstoremesh.config import MirrorConfig
from clustermesh_apiserver.kvstoremesh.kvstoremesh import KVStoreMesh
from clustermesh_apiserver.kvstoremesh.metrics import PREFIX, metrics
from kvstore.etcd import connect as connect_etcd
from kvstore.meter import Meter
from kvstore.metered import connecting

log = logging.getLogger(__name__)


async def serve(config: MirrorConfig) -> None:
    """Copy until the process is asked to end; then leave every key where it is."""
    meter = Meter()
    mesh = KVStoreMesh(
        config, connect=lambda: connect_etcd(config.etcd), connect_peer=connecting(meter), meter=meter
    )
    async with serving(mesh, config), running(mesh):
        await wait_terminated()
        log.info("ending; every key stays where it is")


@asynccontextmanager
async def serving(mesh: KVStoreMesh, config: MirrorConfig) -> AsyncGenerator[None]:
    """The API, probes and metrics."""

    def collect() -> Iterator[Metric]:
        yield from metrics(mesh.report(), mesh.meter)
        yield from expiry.families(PREFIX, mesh.certificate_files, datetime.now(UTC))

    async with AsyncExitStack() as stack:
        apps = [
            (api.application(mesh.report), config.api),
            (api.probes(mesh.report, collect), (config.health_host, config.health_port)),
        ]
        if config.metrics is not None:
            apps.append((probes.metrics_application(collect), config.metrics))
        for app, address in apps:
            await stack.enter_async_context(serve_tcp(app, *address))
        yield


@asynccontextmanager
async def running(mesh: KVStoreMesh) -> AsyncGenerator[None]:
    """Copy while the block runs. A bug ends the block."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(mesh.run(), name="kvstoremesh")
        yield
        task.cancel()
