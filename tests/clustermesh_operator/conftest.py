"""Two connected clusters, with and without their operators running."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest_asyncio

from tests.clustermesh_operator.clusters import Cluster, Mesh, two_clusters


@pytest_asyncio.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with two_clusters(tmp_path) as mesh:
        yield mesh


@pytest_asyncio.fixture
async def clusters(mesh: Mesh) -> AsyncIterator[list[Cluster]]:
    async with AsyncExitStack() as stack:
        for cluster in mesh.clusters:
            await stack.enter_async_context(cluster.operating(mesh.connect))
        yield mesh.clusters
