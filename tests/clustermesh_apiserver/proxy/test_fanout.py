"""Many watches on few at etcd: what each client gets is what a real etcd would have sent it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio
import pytest

from aiokit.wait import eventually
from certs import profile
from clustermesh_apiserver.proxy import hub as hub_module
from clustermesh_apiserver.proxy.method import PUT, WATCH
from kvstore import messages as m
from tests.clustermesh_apiserver.proxy.answers import Told
from tests.clustermesh_apiserver.proxy.conftest import Mesh
from tests.clustermesh_apiserver.proxy.test_serve import page
from tests.clustermesh_apiserver.proxy.test_watch import answer, create, put, watchers_at_etcd

REMOTE = profile.remote()
UNLIMITED = [("grpc.max_receive_message_length", -1)]
SMALL_WINDOW = [("grpc.http2.bdp_probe", 0)]  # gRPC's client takes 64 kB unread, not megabytes


async def put_all(endpoint: str, values: Sequence[bytes], key: bytes = b"cilium/state/k") -> None:
    async with grpc.aio.insecure_channel(endpoint) as channel:
        for value in values:
            await channel.unary_unary(PUT.path)(
                m.PutRequest(key=key, value=value).SerializeToString(), timeout=10
            )


async def until(stream: Any, last: int) -> list[Told]:
    """All events of a stream up to revision `last`."""
    got: list[Told] = []
    while not got or got[-1][0] < last:
        got += [(event.kv.mod_revision, event.kv.value) for event in (await answer(stream)).events]
    return got


async def created(channel: Any, **options: Any) -> tuple[Any, m.WatchResponse]:
    stream = channel.stream_stream(WATCH.path)()
    await stream.write(create(**options))
    made = await answer(stream)
    assert made.created
    return stream, made


async def test_watchers_from_any_revision_get_every_event_once_over_few_watches_at_etcd(mesh: Mesh) -> None:
    values = [b"%d" % number for number in range(2, 102)]  # etcd's first put makes revision 2
    every = list(enumerate(values, start=2))
    await put_all(mesh.etcd.endpoint, values[:50])
    async with mesh.channel(REMOTE) as channel, asyncio.TaskGroup() as group:
        streams = {}
        for start in (*range(1, 40, 3), *range(40, 70, 2), 90, 101):
            streams[start], _ = await created(channel, start_revision=start)
        writer = group.create_task(put_all(mesh.etcd.endpoint, values[50:]), name="writer")
        for start, stream in streams.items():
            assert await until(stream, 101) == [event for event in every if event[0] >= start]
        await writer

        async def one_left() -> bool:
            return await watchers_at_etcd(mesh) == 1

        await eventually(one_left)


async def test_without_a_revision_a_watch_begins_after_what_its_client_has_written(mesh: Mesh) -> None:
    """Also where others watch the same range already and are a moment behind etcd."""
    async with mesh.channel(REMOTE) as channel:
        first, _ = await created(channel)
        for number in range(1, 20):
            await put_all(mesh.etcd.endpoint, [b"before"])
            stream, made = await created(channel)
            assert made.header.revision == 2 * number
            await put_all(mesh.etcd.endpoint, [b"after"])
            assert await until(stream, 2 * number + 1) == [(2 * number + 1, b"after")]
            stream.cancel()
        assert len(await until(first, 39)) == 38


async def test_watches_of_one_stream_keep_their_ids_apart(mesh: Mesh) -> None:
    async with mesh.channel(REMOTE) as channel:
        stream, made = await created(channel)
        assert made.watch_id == 0
        await stream.write(create(key=b"cilium/state/k", end=b"", watch_id=300))
        await stream.write(create(key=b"cilium/state/k", end=b"", watch_id=300))
        await stream.write(create())
        ids = [((one := await answer(stream)).watch_id, one.canceled, one.cancel_reason) for _ in range(3)]
        assert ids[0] == (300, False, "")
        assert ids[1] == (-1, True, "mvcc: duplicate watch ID provided on the WatchStream")
        assert ids[2] == (1, False, "")
        await put(mesh, "cilium/state/k", "1")
        assert {(await answer(stream)).watch_id for _ in range(3)} == {0, 1, 300}
        await stream.write(
            m.WatchRequest(cancel_request=m.WatchCancelRequest(watch_id=300)).SerializeToString()
        )
        cancelled = await answer(stream)
        assert (cancelled.watch_id, cancelled.canceled) == (300, True)
        await put(mesh, "cilium/state/k", "2")
        assert {(await answer(stream)).watch_id for _ in range(2)} == {0, 1}


async def test_options_of_a_watch_count(mesh: Mesh) -> None:
    async with mesh.channel(REMOTE) as channel:
        plain, _ = await created(channel)
        with_previous, _ = await created(channel, prev_kv=True)
        deletes, _ = await created(channel, filters=[m.WatchCreateRequest.NOPUT])
        await put(mesh, "cilium/state/k", "1")
        await put(mesh, "cilium/state/k", "2")
        await mesh.directly("del", "cilium/state/k")
        assert [value for _, value in await until(plain, 4)] == [b"1", b"2", b""]
        assert (await answer(deletes)).events[0].kv.mod_revision == 4
        previous: list[bytes] = []
        while len(previous) < 3:
            previous += [event.prev_kv.value for event in (await answer(with_previous)).events]
        assert previous == [b"", b"1", b"2"]


async def test_a_large_answer_comes_in_fragments_to_who_asked_for_them(mesh: Mesh) -> None:
    await put_all(mesh.etcd.endpoint, [os.urandom(1_000_000) for _ in range(3)])
    async with mesh.channel(REMOTE, options=UNLIMITED) as channel:
        whole, _ = await created(channel, start_revision=1)
        cut, _ = await created(channel, start_revision=1, fragment=True, watch_id=7)
        assert len((await answer(whole)).events) == 3
        parts = [await answer(cut)]
        while parts[-1].fragment:
            parts.append(await answer(cut))
        assert [len(part.events) for part in parts] == [2, 1]
        assert {part.watch_id for part in parts} == {7}


async def test_compaction_ends_the_old_watch_and_not_the_new_one(mesh: Mesh) -> None:
    await put_all(mesh.etcd.endpoint, [b"1", b"2", b"3", b"4"])
    async with mesh.channel(REMOTE) as channel:
        living, _ = await created(channel)
        await mesh.directly("compaction", "4")
        old, _ = await created(channel, start_revision=2)
        ended = await answer(old)
        assert (ended.canceled, ended.compact_revision) == (True, 4)
        await put_all(mesh.etcd.endpoint, [b"5"])
        assert await until(living, 6) == [(6, b"5")]
        # the stream of the cancelled watch serves others
        await old.write(create(start_revision=5))
        assert (await answer(old)).created
        assert await until(old, 6) == [(5, b"4"), (6, b"5")]


async def test_a_question_for_progress_is_answered_after_the_events_that_it_stands_for(mesh: Mesh) -> None:
    question = m.WatchRequest(progress_request=m.WatchProgressRequest()).SerializeToString()
    async with mesh.channel(REMOTE) as channel:
        stream, _ = await created(channel)
        await stream.write(create(key=b"cilium/state/k", end=b""))
        assert (await answer(stream)).created
        await put_all(mesh.etcd.endpoint, [b"1", b"2"])
        await stream.write(question)
        seen: dict[int, int] = {0: 0, 1: 0}
        while (one := await answer(stream)).watch_id != -1:
            seen[one.watch_id] = one.events[-1].kv.mod_revision
        assert one.header.revision <= min(seen.values())
        empty = channel.stream_stream(WATCH.path)()
        await empty.write(question)
        assert (await answer(empty)).header.revision == 3


async def test_a_client_that_falls_behind_what_is_kept_is_cut_off_and_others_are_not(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "RING_BYTES", 1 << 20)
    async with mesh.channel(REMOTE, options=SMALL_WINDOW) as channel, mesh.channel(REMOTE) as other:
        slow, _ = await created(channel)
        fast, _ = await created(other)
        async with asyncio.TaskGroup() as group:
            group.create_task(
                put_all(mesh.etcd.endpoint, [os.urandom(100_000) for _ in range(60)]), name="writer"
            )
            assert len(await until(fast, 61)) == 60
        with pytest.raises(grpc.aio.AioRpcError, match="fell behind") as ended:
            await until(slow, 61)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    _, text = await page(mesh.proxy.health_port, "/metrics")
    assert 'clustermesh_proxy_slow_readers_total{kind="lapsed"} 1.0' in text


async def test_what_the_hub_does_can_be_read_from_its_metrics(mesh: Mesh) -> None:
    async with mesh.channel(REMOTE) as channel:
        streams = [(await created(channel))[0] for _ in range(3)]
        await put_all(mesh.etcd.endpoint, [b"1"])
        for stream in streams:
            await until(stream, 2)
        _, text = await page(mesh.proxy.health_port, "/metrics")
    for line in ("watchers 3.0", "feeds 1.0", "streams 3.0", "batches_total 3.0", "deliveries_total 3.0"):
        assert f"\nclustermesh_proxy_{line}" in text
