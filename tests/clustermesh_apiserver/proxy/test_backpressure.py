"""Clients that do not read, and clients that go away in the middle: nobody else is hurt.

What an unread stream holds here is one message of etcd's and gRPC's windows; etcd keeps the rest for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

import grpc.aio
import pytest

from aiokit.wait import eventually
from certs import profile
from clustermesh_apiserver.proxy import watch
from clustermesh_apiserver.proxy.method import PUT, RANGE, WATCH
from kvstore import messages as m
from tests.clustermesh_apiserver.proxy.conftest import Mesh
from tests.clustermesh_apiserver.proxy.test_serve import page
from tests.clustermesh_apiserver.proxy.test_watch import answer, create

REMOTE = profile.remote()
EVENTS, EVENT_BYTES, STREAMS = 300, 50_000, 4
UNLIMITED = [("grpc.max_receive_message_length", -1)]  # etcd sends a late watcher what it missed in one


async def watching(channel: Any) -> Any:
    stream = channel.stream_stream(WATCH.path)()
    await stream.write(create())
    await answer(stream)
    return stream


async def write_events(mesh: Mesh) -> None:
    async with grpc.aio.insecure_channel(mesh.etcd.endpoint) as channel:
        for number in range(EVENTS):
            request = m.PutRequest(key=b"cilium/state/%d" % number, value=os.urandom(EVENT_BYTES))
            await channel.unary_unary(PUT.path)(request.SerializeToString(), timeout=10)


async def test_streams_that_nobody_reads_do_not_hold_up_others_on_the_same_connection(mesh: Mesh) -> None:
    async with mesh.channel(REMOTE, options=UNLIMITED) as channel:
        first, *others = [await watching(channel) for _ in range(STREAMS)]
        await write_events(mesh)
        read = 0
        while read < EVENTS:
            read += len((await answer(first)).events)
        request = m.RangeRequest(key=b"cilium/state/1").SerializeToString()
        assert await channel.unary_unary(RANGE.path)(request, timeout=5)
        late = 0
        while late < EVENTS:  # who reads late gets everything too
            late += len((await answer(others[0])).events)
        assert (read, late) == (EVENTS, EVENTS)


async def test_clients_that_vanish_while_they_are_written_to_leave_no_trace(
    mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    async with mesh.channel(REMOTE, options=UNLIMITED) as channel:
        for _ in range(STREAMS):
            await watching(channel)
        await write_events(mesh)
    await eventually(lambda: no_streams(mesh))
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_stream_that_is_not_read_for_too_long_is_ended(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "STALL_SECONDS", 0.3)
    async with mesh.channel(REMOTE, options=UNLIMITED) as channel:
        stream = await watching(channel)
        await write_events(mesh)
        await eventually(lambda: no_streams(mesh))
        with pytest.raises(grpc.aio.AioRpcError, match="does not read"):
            while True:
                await asyncio.wait_for(stream.read(), 5)


async def no_streams(mesh: Mesh) -> bool:
    _, text = await page(mesh.proxy.health_port, "/metrics")
    return "clustermesh_proxy_streams 0.0" in text
