"""Streams that a healthy etcd does not produce, from a scripted server; refusals from a real one."""

from __future__ import annotations

import asyncio
import random
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from kvstore import messages as m
from kvstore.config import EtcdConfig
from kvstore.errors import ClusterChangedError, CompactedError, KVStoreError, RefusedError, TransientError
from kvstore.etcd import EtcdBackend, connect
from kvstore.link import Links
from kvstore.watch import Changes, Event, Listed
from tests.conftest import RunningEtcd
from tests.kvstore.certificates import Authority, server_arguments
from tests.kvstore.scripted import CLUSTER, header, put, scripted

Requests = AsyncIterator[m.WatchRequest]
Answer = Callable[[m.WatchResponse], Awaitable[None]]
FOREVER = 3600.0


def answering(*responses: m.WatchResponse) -> Callable[[Requests, Answer], Awaitable[None]]:
    """A watch that is created, gets these answers, and then stays silent."""

    async def watch(requests: Requests, answer: Answer) -> None:
        await anext(requests)
        await answer(m.WatchResponse(header=header(), created=True))
        for response in responses:
            await answer(response)
        await asyncio.sleep(FOREVER)

    return watch


async def after_list(events: AsyncIterator[Event]) -> Event:
    """The first event after the list."""
    async with asyncio.timeout(10):
        while not isinstance(await anext(events), Listed):
            pass
        return await anext(events)


async def first_error(endpoint: str) -> KVStoreError:
    async with patient(endpoint) as events:
        with pytest.raises(KVStoreError) as caught:
            await after_list(events)
        return caught.value


@asynccontextmanager
async def patient(endpoint: str) -> AsyncIterator[AsyncIterator[Event]]:
    async with connect(EtcdConfig((endpoint,))) as backend, backend.listwatch(b"p/") as events:
        yield events


@asynccontextmanager
async def quick(endpoint: str) -> AsyncIterator[AsyncIterator[Event]]:
    """A listwatch that loses its patience after milliseconds."""
    links = Links(EtcdConfig((endpoint,)), random.Random(0))
    async with aclosing(links), EtcdBackend(links, silence_seconds=0.02).listwatch(b"p/") as events:
        yield events


async def test_the_fragments_of_one_answer_become_one_event() -> None:
    parts = [
        m.WatchResponse(header=header(7), fragment=True, events=[put(b"p/1")]),
        m.WatchResponse(header=header(7), fragment=True, events=[put(b"p/2")]),
        m.WatchResponse(header=header(7), events=[put(b"p/3")]),
    ]
    async with scripted(answering(*parts)) as endpoint, patient(endpoint) as events:
        assert await after_list(events) == Changes(7, [(b"p/1", b""), (b"p/2", b""), (b"p/3", b"")])


async def test_the_servers_progress_is_an_empty_change() -> None:
    progress = m.WatchResponse(header=header(9))
    async with scripted(answering(progress)) as endpoint, patient(endpoint) as events:
        assert await after_list(events) == Changes(9, [])


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (m.WatchResponse(header=header(), canceled=True, compact_revision=5), CompactedError),
        (
            m.WatchResponse(header=header(), canceled=True, cancel_reason="etcdserver: no leader"),
            TransientError,
        ),
        (m.WatchResponse(header=header(), canceled=True), TransientError),
        (m.WatchResponse(events=[put(b"p/1")]), ClusterChangedError),
        (m.WatchResponse(header=m.ResponseHeader(cluster_id=CLUSTER + 1)), ClusterChangedError),
    ],
)
async def test_an_answer_that_ends_the_watch_says_why(
    response: m.WatchResponse, expected: type[KVStoreError]
) -> None:
    async with scripted(answering(response)) as endpoint:
        assert type(await first_error(endpoint)) is expected


async def test_a_stream_that_just_ends_is_transient() -> None:
    async def watch(requests: Requests, answer: Answer) -> None:
        await anext(requests)

    async with scripted(watch) as endpoint:
        assert type(await first_error(endpoint)) is TransientError


async def test_a_server_that_has_forgotten_the_watch_is_noticed() -> None:
    asked: list[m.WatchRequest] = []

    async def watch(requests: Requests, answer: Answer) -> None:
        asked.extend([request async for request in requests])

    async with scripted(watch) as endpoint, quick(endpoint) as events:
        with pytest.raises(TransientError, match="stalled"):
            await after_list(events)
    assert asked[0].create_request.start_revision == 2
    assert asked[0].create_request.fragment and asked[0].create_request.progress_notify
    assert [request.HasField("progress_request") for request in asked] == [False, True, True, True]


async def test_a_silent_server_that_answers_for_its_life_is_trusted() -> None:
    answers = 0

    async def watch(requests: Requests, answer: Answer) -> None:
        nonlocal answers
        async for request in requests:
            if request.HasField("progress_request"):
                answers += 1
                await answer(m.WatchResponse(header=header(99), watch_id=-1))
            if answers == 6:  # far more than a server that does not answer would be given
                await answer(m.WatchResponse(header=header(3), events=[put(b"p/1")]))

    async with scripted(watch) as endpoint, quick(endpoint) as events:
        assert await after_list(events) == Changes(3, [(b"p/1", b"")])


async def test_leaving_the_block_ends_the_stream_at_the_server_too() -> None:
    watching, ended = asyncio.Event(), asyncio.Event()

    async def watch(requests: Requests, answer: Answer) -> None:
        try:
            await anext(requests)
            watching.set()
            await asyncio.sleep(FOREVER)
        finally:
            ended.set()

    async with scripted(watch) as endpoint, connect(EtcdConfig((endpoint,))) as backend:
        async with asyncio.TaskGroup() as group, backend.listwatch(b"p/") as events:
            reader = group.create_task(after_list(events), name="reader")
            async with asyncio.timeout(5):
                await watching.wait()
            reader.cancel()
            await asyncio.wait([reader])
        async with asyncio.timeout(5):
            await ended.wait()
        assert await backend.get(b"a") is None


async def test_pages_are_pinned_disjoint_and_asked_for_early() -> None:
    requests: list[m.RangeRequest] = []
    pages = [
        m.RangeResponse(
            header=header(5), kvs=[m.KeyValue(key=b"p/1"), m.KeyValue(key=b"p/2")], more=True, count=3
        ),
        m.RangeResponse(header=header(8), kvs=[m.KeyValue(key=b"p/3")], count=1),
    ]
    async with scripted(answering(), pages, requests) as endpoint, patient(endpoint) as events:
        await anext(events)
        await anext(events)
        assert await anext(events) == Listed(5)
    assert [(r.key, r.range_end, r.revision) for r in requests] == [(b"p/", b"p0", 0), (b"p/2\0", b"p0", 5)]


async def test_a_watch_outside_what_is_granted_is_refused(
    etcds: Callable[..., RunningEtcd], tmp_path: Path
) -> None:
    authority = Authority("mesh")
    server = etcds("guarded", *server_arguments(authority, tmp_path, "localhost"))
    certificate, key = authority.issue("root")
    (tmp_path / "root.crt").write_bytes(certificate)
    (tmp_path / "root.key").write_bytes(key)
    files = authority.client_files(tmp_path)

    def etcdctl(*arguments: str) -> None:
        subprocess.run(
            [
                "etcdctl",
                f"--endpoints=https://localhost:{server.port}",
                f"--cacert={files['trusted_ca_file']}",
                f"--cert={tmp_path / 'root.crt'}",
                f"--key={tmp_path / 'root.key'}",
                *arguments,
            ],
            env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
            check=True,
            capture_output=True,
            timeout=20,
        )

    etcdctl("user", "add", "root", "--no-password")
    etcdctl("user", "grant-role", "root", "root")
    etcdctl("role", "add", "reader")
    etcdctl("role", "grant-permission", "reader", "--prefix=true", "read", "cilium/state/")
    etcdctl("user", "add", "remote", "--no-password")
    etcdctl("user", "grant-role", "remote", "reader")
    etcdctl("auth", "enable")

    async with connect(EtcdConfig((f"https://localhost:{server.port}",), **files)) as backend:
        assert await backend.get_prefix(b"cilium/state/") == []
        with pytest.raises(RefusedError, match="permission denied"):
            await backend.put(b"cilium/state/a", b"")
        with pytest.raises(RefusedError, match="permission denied"):
            async with backend.listwatch(b"cilium/") as events:
                await anext(events)
        assert backend.status().connected  # a refusal is an answer: the connection is fine
