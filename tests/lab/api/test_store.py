"""The registry between the API and etcd: one winner a version, doubt resolved, interruptions survived."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing

import pytest
import pytest_asyncio

from aiokit.wait import eventually
from k8s.client import connect
from k8s.errors import APIError, ConflictError
from k8s.resource import CONFIGMAP
from kvstore.config import EtcdConfig
from kvstore.etcd import EtcdBackend
from kvstore.etcd import connect as connect_etcd
from kvstore.memory import MemoryBackend
from lab.api.collection import RING, Change, from_value
from lab.api.kinds import Kind
from lab.api.store import DELETES_PER_TXN, Store
from lab.api.watch import WatchRequest, watch_lines
from tests.conftest import RunningEtcd
from tests.k8s.apiserver import RunningApi, config_map, lab_api

RECOVERY = 30.0  # etcd's restart, then the client's back-off
CONFIGMAPS = Kind(CONFIGMAP)


@pytest_asyncio.fixture
async def real(etcd: RunningEtcd) -> AsyncIterator[EtcdBackend]:
    async with connect_etcd(EtcdConfig(endpoints=(f"http://{etcd.endpoint}",))) as backend:
        yield backend


async def names(api: RunningApi) -> set[str]:
    return {
        f"{raw!r}".split('"name":"')[1].split('"')[0] for raw in await api.client.list(CONFIGMAP, "default")
    }


async def test_of_many_writers_of_one_version_exactly_one_wins(real: EtcdBackend) -> None:
    async with lab_api(real) as api:
        await api.client.create(CONFIGMAP, config_map("c"))
        stored = CONFIGMAP.path(namespace="default", name="c")

        read = json.loads(await api.client.request("GET", stored))
        bodies = [{**read, "data": {"writer": str(number)}} for number in range(20)]
        results = await asyncio.gather(
            *(api.client.replace(CONFIGMAP, body) for body in bodies), return_exceptions=True
        )
        assert sum(isinstance(result, bytes) for result in results) == 1
        assert sum(isinstance(result, ConflictError) for result in results) == 19


async def test_reading_goes_on_while_etcd_is_down_and_writing_after_it_is_back(
    etcd: RunningEtcd, real: EtcdBackend
) -> None:
    async with lab_api(real) as api:
        await api.client.create(CONFIGMAP, config_map("before"))
        etcd.stop()
        assert await names(api) == {"before"}
        etcd.start()

        async def can_write() -> bool:
            try:
                return await api.client.apply(CONFIGMAP, config_map("after")) != "changed"
            except APIError as error:
                assert error.status == 503
                return False

        await eventually(can_write, RECOVERY)
        assert await names(api) == {"before", "after"}


async def test_a_write_whose_answer_was_lost_is_seen_all_the_same() -> None:
    backend = MemoryBackend()
    async with lab_api(backend) as api:
        backend.fail_reads(1)  # the transaction happens, its revision stays unknown
        with pytest.raises(APIError) as doubtful:
            await api.client.create(CONFIGMAP, config_map("c"))
        assert doubtful.value.status == 503

        async def is_there() -> bool:
            return await names(api) == {"c"}

        await eventually(is_there)
        assert await api.client.apply(CONFIGMAP, config_map("c", a="1")) == "changed"


async def test_more_objects_than_a_transaction_holds_are_deleted(real: EtcdBackend) -> None:
    async with lab_api(real) as api:
        for number in range(DELETES_PER_TXN + 20):
            await api.client.create(CONFIGMAP, config_map(f"c{number}"))
        await api.client.request("DELETE", CONFIGMAP.path(namespace="default"))
        assert await names(api) == set()
    assert await real.get_prefix(CONFIGMAPS.prefix) == []


async def test_a_watcher_that_is_too_slow_is_told_410_and_ended() -> None:
    store = Store(MemoryBackend())
    async with store.running():
        collection = store.of_kind(CONFIGMAPS)
        async with aclosing(watch_lines(WatchRequest(CONFIGMAPS, CONFIGMAPS.prefix, None), store)) as lines:
            assert await anext(lines) == b""
            for revision in range(RING + 1):
                new = from_value(CONFIGMAPS.prefix + b"d/a", b'{"metadata":{"name":"a"}}', revision)
                collection.apply(Change(revision, None, new))
            rest = [line async for line in lines]
    assert len(rest) == 1
    assert b'"type":"ERROR"' in rest[0] and b'"code":410' in rest[0]


async def test_open_watches_end_when_the_server_does() -> None:
    async with asyncio.timeout(10), asyncio.TaskGroup() as group, AsyncExitStack() as clients:
        async with lab_api(MemoryBackend()) as api:
            client = await clients.enter_async_context(connect(api.access))
            watched = group.create_task(client.request("GET", CONFIGMAP.path() + "?watch=1"), name="watch")
            await api.client.create(CONFIGMAP, config_map("c"))
        assert b'"type":"ADDED"' in await watched


async def watched(store: Store, revision: int) -> bytes:
    """What a watch from `revision` says first, and the end of it."""
    asked = WatchRequest(CONFIGMAPS, CONFIGMAPS.prefix, None, str(revision), seconds=0.5)
    async with aclosing(watch_lines(asked, store)) as lines:
        return b"".join([line async for line in lines])


async def test_a_version_from_the_future_is_expired() -> None:
    store = Store(MemoryBackend())
    async with store.running():
        assert b'"code":410' in await watched(store, store.revision + 1)
        assert await watched(store, store.revision) == b""


async def test_history_is_unknown_after_changes_were_missed() -> None:
    backend = MemoryBackend()
    store = Store(backend)
    async with store.running():
        before = store.revision
        backend.fail_reads(1)
        backend.break_streams()
        await backend.another_client().put(CONFIGMAPS.prefix + b"d/a", b'{"metadata":{"name":"a"}}')
        await eventually(lambda: bool(store.of_kind(CONFIGMAPS).objects))
        assert b'"code":410' in await watched(store, before)


async def test_a_foreign_change_seen_late_cannot_be_missed_by_resuming() -> None:
    """The foreign write comes first in etcd, but our own, later one is known before it."""
    backend = MemoryBackend()
    store = Store(backend)
    key = CONFIGMAPS.prefix + b"d/"
    async with store.running():
        foreign = backend.another_client().put(key + b"foreign", b'{"metadata":{"name":"foreign"}}')
        async with store.writing():
            await foreign
            own = await store.put(key + b"own", {"metadata": {"name": "own"}}, None)
        await eventually(lambda: store.revision > own.revision)
        assert len(store.of_kind(CONFIGMAPS).objects) == 2
        assert b'"code":410' in await watched(store, own.revision)
        assert await watched(store, store.revision) == b""
