"""A stream that is over is gone at once, with all that it held: nobody waits for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from clustermesh_apiserver.proxy.hub import Hub, running_hub
from clustermesh_apiserver.proxy.metric import Metrics
from clustermesh_apiserver.proxy.quota import DEFAULT, Account
from clustermesh_apiserver.proxy.status import REVOKED, STALLED
from clustermesh_apiserver.proxy.watch import WatchStream
from tests.clustermesh_apiserver.proxy.scripted_source import ScriptedSource
from tests.clustermesh_apiserver.proxy.test_progress import AtHundred, Client


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def stream_of(client: Client, hub: Hub) -> WatchStream:
    return WatchStream(client, Account(DEFAULT), hub=hub, head=AtHundred(), metrics=Metrics())


class Nonsense(Client):
    """Asks for something that ends the stream."""

    async def read(self) -> bytes:
        return b"\xff\xff"


async def test_a_stream_that_ended_by_an_error_leaves_no_cycle(no_collector: None) -> None:
    async with running_hub(ScriptedSource()) as hub:
        stream = stream_of(Nonsense(), hub)
        gone = weakref.ref(stream)
        assert await stream.run() is not None
        del stream
        await asyncio.sleep(0)
        assert gone() is None


async def test_a_stream_that_was_ended_from_outside_leaves_no_cycle(no_collector: None) -> None:
    async with running_hub(ScriptedSource()) as hub, asyncio.TaskGroup() as group:
        stream = stream_of(Client(), hub)
        gone = weakref.ref(stream)
        task = group.create_task(stream.run(), name="stream")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        stream.end(REVOKED)
        stream.end(STALLED)
        assert await task == REVOKED
        del stream, task
        await asyncio.sleep(0)
        assert gone() is None
