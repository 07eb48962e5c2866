"""Watches through the proxy: the same events as at etcd, refusals as etcd gives them, streams that last."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from aiokit.wait import eventually
from certs import profile
from clustermesh_apiserver.proxy.method import PUT, RANGE, WATCH
from clustermesh_apiserver.proxy.status import PERMISSION_DENIED
from kvstore import messages as m
from tests.clustermesh_apiserver.proxy.conftest import Mesh

REMOTE = profile.remote()
PREFIX, END = b"cilium/state/", b"cilium/state0"
READ_SECONDS = 10.0
# One ping a second on an idle connection. A server with gRPC's defaults hangs up at the third.
PINGING = (
    ("grpc.keepalive_time_ms", 1000),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
PINGS = 5


def create(key: bytes = PREFIX, end: bytes = END, **more: Any) -> bytes:
    request = m.WatchCreateRequest(key=key, range_end=end, **more)
    return m.WatchRequest(create_request=request).SerializeToString()


async def answer(call: Any) -> m.WatchResponse:
    async with asyncio.timeout(READ_SECONDS):
        raw = await call.read()
    assert raw is not grpc.aio.EOF
    return m.WatchResponse.FromString(raw)


async def put(mesh: Mesh, key: str, value: str) -> None:
    async with grpc.aio.insecure_channel(mesh.etcd.endpoint) as channel:
        request = m.PutRequest(key=key.encode(), value=value.encode())
        await channel.unary_unary(PUT.path)(request.SerializeToString(), timeout=READ_SECONDS)


async def test_a_watcher_gets_etcds_own_bytes(mesh: Mesh) -> None:
    async with (
        mesh.channel(REMOTE) as through,
        grpc.aio.insecure_channel(mesh.etcd.endpoint) as direct,
    ):
        streams = [channel.stream_stream(WATCH.path)() for channel in (through, direct)]
        for stream in streams:
            await stream.write(create())
            assert (await answer(stream)).created
        await put(mesh, "cilium/state/nodes/v1/east/n1", "{}")
        proxied, plain = [await asyncio.wait_for(stream.read(), READ_SECONDS) for stream in streams]
        assert proxied == plain
        assert m.WatchResponse.FromString(proxied).events[0].kv.key == b"cilium/state/nodes/v1/east/n1"


async def test_a_refused_watch_is_answered_as_etcd_does_and_the_stream_lives_on(mesh: Mesh) -> None:
    async with mesh.channel(REMOTE) as channel:
        stream = channel.stream_stream(WATCH.path)()
        await stream.write(create(b"cilium/cache/", b"cilium/cache0"))
        refused = await answer(stream)
        assert refused.created
        assert refused.canceled
        assert refused.watch_id == -1
        assert PERMISSION_DENIED in refused.cancel_reason
        assert refused.header.cluster_id != 0
        await stream.write(create())
        assert not (await answer(stream)).canceled
        await put(mesh, "cilium/cache/secret", "x")
        await put(mesh, "cilium/state/open", "y")
        assert [event.kv.key for event in (await answer(stream)).events] == [b"cilium/state/open"]


async def test_a_refusal_does_not_overtake_the_answer_to_an_earlier_request(mesh: Mesh) -> None:
    async with mesh.channel(REMOTE) as channel:
        stream = channel.stream_stream(WATCH.path)()
        for request in (create(), create(b"\0", b"\0"), create(b"", b""), create()):
            await stream.write(request)
        answers = [await answer(stream) for _ in range(4)]
        assert [(one.created, one.canceled) for one in answers] == [
            (True, False),
            (True, True),
            (True, True),
            (True, False),
        ]


async def test_etcdctl_says_permission_denied_for_a_watch_outside_the_grant(mesh: Mesh) -> None:
    result = await mesh.as_client(REMOTE, "watch", "--prefix", "cilium/cache/")
    assert result.status != 0
    assert "PermissionDenied" in result.err or "permission denied" in result.err


async def test_etcdctl_watches_from_a_revision(mesh: Mesh) -> None:
    await put(mesh, "cilium/state/ip/v1/default/10.1.0.4", "one")
    command = ("watch", "--prefix", "--rev=1", "cilium/state/", "--", "sh", "-c", "echo seen; kill $PPID")
    result = await mesh.as_client(REMOTE, *command)
    assert b"seen" in result.out


async def test_a_compacted_watch_ends_as_at_etcd(mesh: Mesh) -> None:
    for value in ("one", "two", "three"):
        await put(mesh, "cilium/state/a", value)
    assert (await mesh.directly("compaction", "3")).status == 0
    async with mesh.channel(REMOTE) as channel:
        stream = channel.stream_stream(WATCH.path)()
        await stream.write(create(start_revision=1))
        answers = [await answer(stream), await answer(stream)]
        assert answers[-1].canceled
        assert answers[-1].compact_revision == 3


async def test_an_idle_watch_outlives_any_number_of_keepalive_pings(mesh: Mesh) -> None:
    async with mesh.channel(REMOTE, options=PINGING) as channel:
        stream = channel.stream_stream(WATCH.path)()
        await stream.write(create())
        await answer(stream)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await eventually(lambda: stream.done() or loop.time() - begun > PINGS, timeout=2 * PINGS)
        await put(mesh, "cilium/state/late", "1")
        assert (await answer(stream)).events[0].kv.key == b"cilium/state/late"


async def test_losing_etcd_ends_streams_and_calls_and_its_return_serves_again(mesh: Mesh) -> None:
    async with mesh.channel(REMOTE) as channel:
        stream = channel.stream_stream(WATCH.path)()
        await stream.write(create())
        await answer(stream)
        mesh.etcd.stop()
        with pytest.raises(grpc.aio.AioRpcError) as lost:
            await answer(stream)
        assert lost.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "127.0.0.1" not in lost.value.details()
        assert await code_of_a_read(channel) is grpc.StatusCode.UNAVAILABLE
        mesh.etcd.restart()

        async def served() -> bool:
            return await code_of_a_read(channel) is grpc.StatusCode.OK

        await eventually(served, timeout=15)


async def test_an_etcd_that_hangs_costs_a_client_no_more_than_its_deadline(mesh: Mesh) -> None:
    async with mesh.channel(REMOTE) as channel:
        assert await code_of_a_read(channel) is grpc.StatusCode.OK
        os.kill(mesh.etcd.pid, signal.SIGSTOP)
        try:
            await eventually(lambda: is_stopped(mesh.etcd.pid))
            assert await code_of_a_read(channel, timeout=0.5) is grpc.StatusCode.DEADLINE_EXCEEDED
        finally:
            os.kill(mesh.etcd.pid, signal.SIGCONT)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def code_of_a_read(channel: Any, timeout: float = 5.0) -> grpc.StatusCode:
    request = m.RangeRequest(key=b"cilium/state/a").SerializeToString()
    call = channel.unary_unary(RANGE.path)(request, timeout=timeout)
    return await call.code()  # type: ignore[no-any-return]


async def test_a_watcher_that_goes_away_leaves_no_watch_at_etcd(mesh: Mesh) -> None:
    async with mesh.channel(REMOTE) as channel:
        stream = channel.stream_stream(WATCH.path)()
        await stream.write(create())
        await answer(stream)
        await eventually(lambda: has_watchers(mesh, 1))  # we answer before etcd has
    await eventually(lambda: has_watchers(mesh, 0))


async def has_watchers(mesh: Mesh, count: int) -> bool:
    return await watchers_at_etcd(mesh) == count


async def watchers_at_etcd(mesh: Mesh) -> int:
    import aiohttp

    url = f"http://{mesh.etcd.endpoint}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        lines = (await response.text()).splitlines()
    name = "etcd_debugging_mvcc_watcher_total "
    return int(next(line.removeprefix(name) for line in lines if line.startswith(name)))
