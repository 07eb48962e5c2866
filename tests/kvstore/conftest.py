"""Backends under test: the same tests run against a real etcd and against the in-memory twin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from kvstore.backend import Backend
from kvstore.config import EtcdConfig
from kvstore.etcd import connect
from kvstore.memory import MemoryBackend
from tests.conftest import RunningEtcd


@dataclass
class Clients:
    """A backend, a second client of the same store, and how to make the store forget its history."""

    backend: Backend
    other: Backend
    compact: Callable[[], Awaitable[None]]


@pytest.fixture(params=["memory", "etcd"])
async def clients(request: pytest.FixtureRequest) -> AsyncIterator[Clients]:
    if request.param == "memory":
        memory = MemoryBackend()

        async def compact_memory() -> None:
            memory.compact()

        yield Clients(memory, memory.another_client(), compact_memory)
        return
    server: RunningEtcd = request.getfixturevalue("etcd")
    async with AsyncExitStack() as stack:
        config = EtcdConfig((server.endpoint,))
        backend = await stack.enter_async_context(connect(config))
        other = await stack.enter_async_context(connect(config))

        async def compact_etcd() -> None:
            await other.put(b"compacting", b"")
            pair = await other.get(b"compacting")
            assert pair is not None
            await other.compact(pair.mod_revision)

        yield Clients(backend, other, compact_etcd)


@pytest.fixture
def backend(clients: Clients) -> Backend:
    return clients.backend
