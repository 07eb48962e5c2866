"""An API server for each test: in memory, or over a real etcd."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from kvstore.memory import MemoryBackend
from tests.k8s.apiserver import RunningApi, lab_api


@pytest_asyncio.fixture
async def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest_asyncio.fixture
async def api(backend: MemoryBackend) -> AsyncIterator[RunningApi]:
    async with lab_api(backend) as running:
        yield running
