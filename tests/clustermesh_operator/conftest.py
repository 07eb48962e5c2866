"""Two connected clusters, with and without their operators running."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest_asyncio

from tests.clustermesh_operator.clusters import Cluster, Mesh, two_clusters


@pytest_asyncio.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with two_clusters(tmp_path) as mesh:
        yield mesh


@pytest_asyncio.fixture
async def clusters(mesh: Mesh) -> AsyncIterator[list[Cluster]]:
    async with operating(mesh) as clusters:
        yield clusters


@pytest_asyncio.fixture
async def synced(mesh: Mesh) -> AsyncIterator[list[Cluster]]:
    """With the synchronisation of endpoint slices."""
    async with operating(mesh, endpoint_sync=True) as clusters:
        yield clusters


@asynccontextmanager
async def operating(mesh: Mesh, *, endpoint_sync: bool = False) -> AsyncIterator[list[Cluster]]:
    async with AsyncExitStack() as stack:
        for cluster in mesh.clusters:
            running = cluster.operating(mesh.connect, endpoint_sync=endpoint_sync)
            await stack.enter_async_context(running)
        yield mesh.clusters
