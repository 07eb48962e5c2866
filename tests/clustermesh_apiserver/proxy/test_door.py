"""Clients that ask too much, and what is written down of those who ask for what is not theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from aiokit.wait import eventually
from certs import profile
from clustermesh_apiserver.proxy import method as methods
from clustermesh_apiserver.proxy.method import RANGE, WATCH
from clustermesh_apiserver.proxy.quota import Limits
from kvstore import messages as m
from tests.clustermesh_apiserver.proxy.conftest import Mesh, a_mesh
from tests.clustermesh_apiserver.proxy.test_fanout import put_all
from tests.clustermesh_apiserver.proxy.test_serve import audited, page
from tests.clustermesh_apiserver.proxy.test_watch import answer, create
from tests.conftest import RunningEtcd

WEST = profile.remote("west")
TOO_MANY = "etcdserver: too many requests"
ONE_KEY = m.RangeRequest(key=b"cilium/state/k").SerializeToString()


@pytest.fixture
async def narrow(etcd: RunningEtcd, tmp_path: Path) -> AsyncIterator[Mesh]:
    limits = Limits(streams=2, watches=3, requests_per_second=1, burst_seconds=12, bytes_in_flight=1000)
    async with a_mesh(etcd, tmp_path, lambda config: replace(config, limits=limits)) as mesh:
        yield mesh


async def ask(channel: Any, request: bytes = ONE_KEY) -> tuple[grpc.StatusCode, str]:
    call = channel.unary_unary(RANGE.path)(request, timeout=5)
    return await call.code(), await call.details()


async def refusals(mesh: Mesh, method: str) -> str:
    """The counters' lines of refusals for too much."""
    _, text = await page(mesh.proxy.health_port, "/metrics")
    name = f'clustermesh_proxy_refused_total{{client="remote-west",method="{method}",reason="quota"'
    return next((line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(name)), "0")


async def test_who_asks_too_often_is_refused_with_etcds_words_and_others_are_not(narrow: Mesh) -> None:
    async with narrow.channel(WEST) as west, narrow.channel(profile.remote("north")) as north:
        # a new etcd answers once it has a leader, up to a second later: by then a request would be free again
        assert (await ask(north))[0] is grpc.StatusCode.OK
        outcomes = [await ask(west) for _ in range(16)]
        assert outcomes[0][0] is grpc.StatusCode.OK
        assert outcomes[-1] == (grpc.StatusCode.RESOURCE_EXHAUSTED, TOO_MANY)
        assert (await ask(north))[0] is grpc.StatusCode.OK
    assert float(await refusals(narrow, "Range")) >= 3


async def test_streams_are_bounded_and_a_closed_one_makes_room(narrow: Mesh) -> None:
    async with narrow.channel(WEST) as channel:
        streams = [channel.stream_stream(WATCH.path)() for _ in range(2)]
        for stream in streams:
            await stream.write(create())
            await answer(stream)
        third = channel.stream_stream(WATCH.path)()
        assert (await third.code(), await third.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, TOO_MANY)
        streams[0].cancel()

        async def has_room() -> bool:
            stream = channel.stream_stream(WATCH.path)()
            await stream.write(create())
            return await stream.read() is not grpc.aio.EOF

        await eventually(has_room, interval=0.2)
    assert float(await refusals(narrow, "Watch")) >= 1


async def test_a_watch_too_many_is_answered_as_etcd_would_and_a_cancelled_one_makes_room(
    narrow: Mesh,
) -> None:
    async with narrow.channel(WEST) as channel:
        stream = channel.stream_stream(WATCH.path)()
        for _ in range(4):
            await stream.write(create())
        made = [await answer(stream) for _ in range(4)]
        assert [one.canceled for one in made] == [False, False, False, True]
        assert (made[3].created, made[3].watch_id, made[3].cancel_reason) == (True, -1, TOO_MANY)
        await stream.write(
            m.WatchRequest(cancel_request=m.WatchCancelRequest(watch_id=1)).SerializeToString()
        )
        assert (await answer(stream)).canceled
        await stream.write(create())
        assert not (await answer(stream)).canceled


async def test_distinct_watches_are_bounded_and_those_that_others_have_are_not(
    etcd: RunningEtcd, tmp_path: Path
) -> None:
    limits = Limits(feeds=1)
    async with (
        a_mesh(etcd, tmp_path, lambda config: replace(config, limits=limits)) as mesh,
        mesh.channel(WEST) as channel,
    ):
        stream = channel.stream_stream(WATCH.path)()
        for key in (b"a", b"a", b"b"):
            await stream.write(create(key=b"cilium/state/" + key, end=b""))
        made = [await answer(stream) for _ in range(3)]
        assert [one.cancel_reason for one in made] == ["", "", TOO_MANY]
        for watch_id in (0, 1):
            cancel = m.WatchRequest(cancel_request=m.WatchCancelRequest(watch_id=watch_id))
            await stream.write(cancel.SerializeToString())
            assert (await answer(stream)).canceled
        await stream.write(create(key=b"cilium/state/b", end=b""))
        assert not (await answer(stream)).canceled
        assert await refusals(mesh, "Watch") == "1.0"


async def test_a_stream_that_asks_too_often_is_ended(narrow: Mesh) -> None:
    async with narrow.channel(WEST) as channel:
        stream = channel.stream_stream(WATCH.path)()
        with pytest.raises(grpc.aio.AioRpcError, match=TOO_MANY):
            for number in range(20):
                await stream.write(create(key=b"cilium/cache/%d" % number, end=b""))
                await answer(stream)


async def test_answers_that_nobody_reads_are_bounded(narrow: Mesh) -> None:
    """gRPC takes some of an answer for the network; the rest waits in our memory for its client."""
    await put_all(narrow.etcd.endpoint, [bytes(1_400_000)])
    options = [("grpc.http2.bdp_probe", 0), ("grpc.max_receive_message_length", -1)]
    async with narrow.channel(WEST, options=options) as channel:
        # The reply to a stream-shaped call is read only when asked for: an unread list stays with the proxy
        unread = channel.unary_stream(RANGE.path)(ONE_KEY)
        await eventually(lambda: is_refused(channel))
        unread.cancel()
        await eventually(lambda: is_served(channel), interval=0.5)


async def is_refused(channel: Any) -> bool:
    return await ask(channel, m.RangeRequest(key=b"cilium/state/x").SerializeToString()) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        TOO_MANY,
    )


async def is_served(channel: Any) -> bool:
    code, _ = await ask(channel, m.RangeRequest(key=b"cilium/state/x").SerializeToString())
    return code is grpc.StatusCode.OK


FOREIGN = [
    (methods.RANGE, m.RangeRequest(key=b"cilium/cache/", range_end=b"cilium/cache0"), "range"),
    (methods.RANGE, m.RangeRequest(key=b"cilium/cluster-config/north"), "range"),
    (methods.RANGE, m.RangeRequest(key=b"\0", range_end=b"\0"), "range"),
    (methods.PUT, m.PutRequest(key=b"cilium/state/k", value=b"mine"), "method"),
    (methods.DELETE_RANGE, m.DeleteRangeRequest(key=b"\0", range_end=b"\0"), "method"),
    (methods.TXN, m.TxnRequest(), "method"),
    (methods.COMPACT, m.CompactionRequest(revision=1), "method"),
    (methods.LEASE_GRANT, m.LeaseGrantRequest(TTL=60), "method"),
    (methods.LEASE_REVOKE, m.LeaseRevokeRequest(ID=1), "method"),
]


@pytest.mark.parametrize(
    ("method", "request_", "reason"), FOREIGN, ids=lambda value: getattr(value, "path", "")
)
async def test_what_is_not_for_another_cluster_is_refused_counted_and_written_down(
    mesh: Mesh, caplog: pytest.LogCaptureFixture, method: methods.Method, request_: Any, reason: str
) -> None:
    async with mesh.channel(WEST) as channel:
        call = channel.unary_unary(method.path)(request_.SerializeToString(), timeout=5)
        assert await call.code() is grpc.StatusCode.PERMISSION_DENIED
        assert await call.details() == "etcdserver: permission denied"
    (line,) = audited(caplog)
    assert "client='remote-west' role=remote peer=ipv4:127.0.0.1:" in line
    assert f"method={method.path} reason='{reason}'" in line
    assert "mine" not in line
    _, text = await page(mesh.proxy.health_port, "/metrics")
    labels = f'client="remote-west",method="{method.path.rpartition("/")[2]}",reason="{reason}",role="remote"'
    assert f"clustermesh_proxy_refused_total{{{labels}}} 1.0" in text


async def test_a_client_that_goes_on_asking_does_not_fill_the_log(
    mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    async with mesh.channel(WEST) as channel:
        for _ in range(100):
            await ask(channel, m.RangeRequest(key=b"cilium/cache/x").SerializeToString())
    assert 20 <= len(audited(caplog)) < 40
    _, text = await page(mesh.proxy.health_port, "/metrics")
    assert 'reason="range",role="remote"} 100.0' in text
