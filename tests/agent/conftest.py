"""An API server with our kinds, and a node's state directory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from k8s.client import Client
from kvstore.memory import MemoryBackend
from tests.agent.fakemap import FakeKernel
from tests.agent.station import FakeInterfaces, Station, define
from tests.k8s.apiserver import RunningApi, lab_api


@pytest_asyncio.fixture
async def api() -> AsyncIterator[RunningApi]:
    async with lab_api(MemoryBackend()) as running:
        await define(running.client)
        yield running


@pytest_asyncio.fixture
async def client(api: RunningApi) -> Client:
    return api.client


@pytest_asyncio.fixture
async def station(client: Client, tmp_path: Path) -> Station:
    return Station(client, tmp_path / "endpoints.json", FakeKernel(), FakeInterfaces())
