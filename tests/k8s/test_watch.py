"""Following a collection across every kind of interruption, against the lab's API over TLS."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace

import pytest
import pytest_asyncio
from aiohttp import web

from aiokit.backoff import Backoff
from aiokit.http import serve_tcp
from aiokit.wait import eventually
from k8s.access import Access
from k8s.client import Client, connect
from k8s.core import ConfigMap, Pod, Service
from k8s.discovery import EndpointSlice
from k8s.resource import CILIUMNODE, CONFIGMAP, CRD, ENDPOINTSLICE, POD, SERVICE
from k8s.watch import ObjectDelta, follow
from kvstore.memory import MemoryBackend
from tests.k8s.apiserver import RunningApi, config_map, definition, lab_api, pod
from tests.k8s.relay import Relay, relaying

TIMEOUT = 10.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def quickly() -> Backoff:
    return Backoff(0.01, 0.05)


class Copy:
    """Applies deltas, as any consumer would; remembers what each of them said."""

    def __init__(self) -> None:
        self.objects: dict[str, ConfigMap] = {}
        self.deltas: list[ObjectDelta[ConfigMap]] = []

    @property
    def data(self) -> dict[str, dict[str, str]]:
        return {key: value.data for key, value in self.objects.items()}

    @property
    def listings(self) -> int:
        return sum(delta.synced for delta in self.deltas)

    async def keep(self, client: Client) -> None:
        async for delta in follow(
            client, CONFIGMAP, ConfigMap, namespace="default", label_selector="app!=hidden", backoff=quickly()
        ):
            self.deltas.append(delta)
            self.objects |= delta.upserts
            for key in delta.removes:
                del self.objects[key]


@asynccontextmanager
async def copying(client: Client) -> AsyncGenerator[Copy]:
    copy = Copy()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(copy.keep(client), name="copy")
        await eventually(lambda: copy.listings > 0)
        yield copy
        task.cancel()


@pytest_asyncio.fixture
async def relay(api: RunningApi) -> AsyncIterator[Relay]:
    async with relaying(int(api.access.server.rpartition(":")[2])) as running:
        yield running


@pytest_asyncio.fixture
async def through_relay(api: RunningApi, relay: Relay) -> AsyncIterator[Client]:
    async with connect(replace(api.access, server=f"https://127.0.0.1:{relay.port}")) as client:
        yield client


async def test_a_copy_follows_creation_change_and_deletion(api: RunningApi) -> None:
    await api.client.create(CONFIGMAP, config_map("a", x="1"))
    async with copying(api.client) as copy:
        assert copy.data == {"default/a": {"x": "1"}}
        await api.client.create(CONFIGMAP, config_map("b"))
        await api.client.merge_patch(CONFIGMAP, "a", {"data": {"x": "2"}}, "default")
        await eventually(lambda: copy.data == {"default/a": {"x": "2"}, "default/b": {}})
        await api.client.delete(CONFIGMAP, "a", "default")
        await eventually(lambda: copy.data == {"default/b": {}})
        assert copy.listings == 1


async def test_an_object_that_leaves_the_selection_is_removed(api: RunningApi) -> None:
    await api.client.create(CONFIGMAP, config_map("a"))
    async with copying(api.client) as copy:
        await api.client.merge_patch(CONFIGMAP, "a", {"metadata": {"labels": {"app": "hidden"}}}, "default")
        await eventually(lambda: copy.data == {})


async def test_a_cut_connection_is_resumed_without_listing_again(
    api: RunningApi, relay: Relay, through_relay: Client
) -> None:
    await api.client.create(CONFIGMAP, config_map("a"))
    await api.client.create(CONFIGMAP, config_map("b"))
    async with copying(through_relay) as copy:
        relay.is_open = False
        relay.cut()
        await api.client.delete(CONFIGMAP, "a", "default")
        await api.client.create(CONFIGMAP, config_map("c"))
        relay.is_open = True
        await eventually(lambda: set(copy.data) == {"default/b", "default/c"})
        assert copy.listings == 1


async def test_after_a_compaction_it_lists_again_and_removes_what_is_gone(
    api: RunningApi, relay: Relay, through_relay: Client
) -> None:
    for name in "abc":
        await api.client.create(CONFIGMAP, config_map(name))
    async with copying(through_relay) as copy:
        relay.is_open = False
        relay.cut()
        await api.client.delete(CONFIGMAP, "a", "default")
        await api.client.merge_patch(CONFIGMAP, "b", {"data": {"x": "2"}}, "default")
        api.server.compact()
        relay.is_open = True
        await eventually(lambda: copy.listings == 2)
        assert copy.data == {"default/b": {"x": "2"}, "default/c": {}}
        assert set(copy.deltas[-1].upserts) == {"default/b"}  # what did not change is not repeated
        assert copy.deltas[-1].removes == {"default/a"}


async def test_a_compaction_does_not_disturb_a_watch_that_is_up_to_date(api: RunningApi) -> None:
    await api.client.create(CONFIGMAP, config_map("a"))
    async with copying(api.client) as copy:
        api.server.compact()
        await api.client.create(CONFIGMAP, config_map("b"))
        await eventually(lambda: set(copy.data) == {"default/a", "default/b"})
        assert copy.listings == 1


async def test_a_change_made_behind_the_servers_back_is_seen(api: RunningApi, backend: MemoryBackend) -> None:
    await api.client.create(CONFIGMAP, config_map("a", x="1"))
    async with copying(api.client) as copy:
        other = backend.another_client()
        key = b"/registry/core/configmaps/default/a"
        stored = await other.get(key)
        assert stored is not None
        await other.put(key, stored.value.replace(b'"x":"1"', b'"x":"2"'))
        await eventually(lambda: copy.data == {"default/a": {"x": "2"}})
        await other.delete(key)
        await eventually(lambda: copy.data == {})
        assert await api.client.create(CONFIGMAP, config_map("a"))


async def test_a_server_that_lost_its_upstream_watch_catches_up(
    api: RunningApi, backend: MemoryBackend
) -> None:
    await api.client.create(CONFIGMAP, config_map("a"))
    async with copying(api.client) as copy:
        backend.fail_reads(3)
        backend.break_streams()
        await backend.another_client().delete(b"/registry/core/configmaps/default/a")
        await eventually(lambda: copy.data == {})


async def test_an_object_that_does_not_decode_is_skipped_and_logged_once(
    api: RunningApi, caplog: pytest.LogCaptureFixture
) -> None:
    broken = {**pod("bad"), "spec": {"containers": [{"name": "main", "image": 7}]}}
    seen: dict[str, Pod] = {}
    with caplog.at_level(logging.WARNING, "k8s.collection"):
        await api.client.create(POD, broken)
        await api.client.create(POD, pod("good"))
        async with (
            aclosing(follow(api.client, POD, Pod, backoff=quickly())) as deltas,
            asyncio.timeout(TIMEOUT),
        ):
            seen |= (await anext(deltas)).upserts
            await api.client.merge_patch(POD, "bad", {"metadata": {"labels": {"a": "b"}}}, "default")
            await api.client.create(POD, pod("later"))
            while "default/later" not in seen:
                seen |= (await anext(deltas)).upserts
    assert set(seen) == {"default/good", "default/later"}
    assert len([record for record in caplog.records if "does not decode" in record.message]) == 1


async def test_a_kind_that_is_not_defined_yet_is_awaited(api: RunningApi) -> None:
    from k8s.cilium import CiliumNode

    async with (
        aclosing(follow(api.client, CILIUMNODE, CiliumNode, backoff=quickly())) as deltas,
        asyncio.timeout(TIMEOUT),
        asyncio.TaskGroup() as group,
    ):
        first = group.create_task(anext(deltas), name="first")
        await api.client.create(CRD, definition("ciliumnodes", "CiliumNode"))
        assert (await first).synced


async def test_lines_larger_than_a_readers_buffer_arrive_whole(api: RunningApi) -> None:
    async with copying(api.client) as copy:
        await api.client.create(CONFIGMAP, config_map("big", x="y" * 300_000))
        await eventually(lambda: copy.data == {"default/big": {"x": "y" * 300_000}})


async def test_a_watch_refused_with_http_410_lists_again() -> None:
    """Some servers answer 410 as the HTTP status, not as an event: the lab's does not."""
    lists = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal lists
        if "watch" in request.query and request.query["resourceVersion"] == "1":
            return web.json_response({"kind": "Status", "code": 410, "reason": "Expired"}, status=410)
        if "watch" in request.query:
            await asyncio.sleep(TIMEOUT)
        lists += 1
        items = (
            [{"metadata": {"name": "a", "namespace": "d", "resourceVersion": "1"}}] if lists == 1 else None
        )
        return web.json_response({"metadata": {"resourceVersion": str(lists)}, "items": items})

    app = web.Application()
    app.router.add_get("/api/v1/services", handler)
    async with (
        serve_tcp(app, "127.0.0.1", 0) as port,
        connect(Access(f"http://127.0.0.1:{port}")) as client,
        aclosing(follow(client, SERVICE, Service, backoff=quickly())) as deltas,
        asyncio.timeout(TIMEOUT),
    ):
        first, second = await anext(deltas), await anext(deltas)
    assert (set(first.upserts), second.removes, second.synced) == ({"d/a"}, {"d/a"}, True)


async def test_a_stream_cut_in_the_middle_of_a_line_loses_nothing() -> None:
    starts: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})
        starts.append(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        line = b'{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"2"},"endpoints":null}}\n'
        await response.write(line + line.replace(b'"a"', b'"b"').replace(b'"2"', b'"3"')[:30])
        if len(starts) == 1:
            assert request.transport is not None
            request.transport.abort()
        else:
            await asyncio.sleep(TIMEOUT)
        return response

    app = web.Application()
    app.router.add_get("/apis/discovery.k8s.io/v1/endpointslices", handler)
    async with (
        serve_tcp(app, "127.0.0.1", 0) as port,
        connect(Access(f"http://127.0.0.1:{port}")) as client,
        aclosing(follow(client, ENDPOINTSLICE, EndpointSlice, backoff=quickly())) as deltas,
        asyncio.timeout(TIMEOUT),
    ):
        assert (await anext(deltas)).synced
        assert set((await anext(deltas)).upserts) == {"a"}
        assert set((await anext(deltas)).upserts) == {"a"}
    assert starts == ["1", "2"]


async def test_a_server_that_asks_for_less_is_not_asked_for_a_listing() -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.query.get("resourceVersion", "list"))
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})
        if len(asked) < 4:
            return web.json_response({"kind": "Status", "code": 429}, status=429)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"2"}}}\n')
        await asyncio.sleep(TIMEOUT)
        return response

    assert set((await second_delta(handler)).upserts) == {"a"}
    assert asked == ["list", "1", "1", "1"]


async def test_a_silent_stream_is_taken_for_dead_and_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k8s.watch.SILENCE_SECONDS", 0.05)
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.query.get("resourceVersion", "list"))
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})
        response = web.StreamResponse()
        await response.prepare(request)
        bookmark = b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"},"endpoints":null}}\n'
        added = b'{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"8"}}}\n'
        await response.write(bookmark if len(asked) == 2 else added)
        await asyncio.sleep(TIMEOUT)
        return response

    assert set((await second_delta(handler)).upserts) == {"a"}
    assert asked == ["list", "1", "7"]  # from the bookmark on, without listing again


async def second_delta(handler: Handler) -> ObjectDelta[EndpointSlice]:
    """What comes after the first listing of a server that answers by `handler`."""
    app = web.Application()
    app.router.add_get("/apis/discovery.k8s.io/v1/endpointslices", handler)
    async with (
        serve_tcp(app, "127.0.0.1", 0) as port,
        connect(Access(f"http://127.0.0.1:{port}")) as client,
        aclosing(follow(client, ENDPOINTSLICE, EndpointSlice, backoff=quickly())) as deltas,
        asyncio.timeout(TIMEOUT),
    ):
        assert (await anext(deltas)).synced
        return await anext(deltas)


async def test_another_server_with_an_empty_history_on_the_same_port_is_listed_anew() -> None:
    async with AsyncExitStack() as first_life:
        first = await first_life.enter_async_context(lab_api(MemoryBackend()))
        for name in "abc":
            await first.client.create(CONFIGMAP, config_map(name))
        port = int(first.access.server.rpartition(":")[2])
        access = first.access
        second_access: list[Access] = []
        stale = replace(access, renew=lambda: second_access[-1])
        async with connect(stale) as client, copying(client) as copy:
            assert set(copy.data) == {"default/a", "default/b", "default/c"}
            await first_life.aclose()
            async with lab_api(MemoryBackend(), port) as second:
                second_access.append(second.access)  # with another authority, as a new cluster has
                await second.client.create(CONFIGMAP, config_map("c", x="2"))
                await eventually(lambda: copy.data == {"default/c": {"x": "2"}}, TIMEOUT)


async def test_a_running_watch_takes_a_rotated_token_and_authority(backend: MemoryBackend) -> None:
    async with AsyncExitStack() as first_life:
        first = await first_life.enter_async_context(lab_api(backend))
        await first.client.create(CONFIGMAP, config_map("a"))
        port = int(first.access.server.rpartition(":")[2])
        current = [first.access]
        renewable = replace(first.access, renew=lambda: current[-1])
        async with connect(renewable) as client, copying(client) as copy:
            await first_life.aclose()
            async with lab_api(backend, port, token="rotated") as second:
                current.append(second.access)
                await second.client.create(CONFIGMAP, config_map("b"))
                await eventually(lambda: set(copy.data) == {"default/a", "default/b"}, TIMEOUT)


async def test_a_server_that_takes_a_watch_and_says_nothing_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("k8s.watch.SILENCE_SECONDS", 0.05)
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.query.get("resourceVersion", "list"))
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})
        if len(asked) == 2:
            await asyncio.sleep(TIMEOUT)  # not even a header
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"2"}}}\n')
        await asyncio.sleep(TIMEOUT)
        return response

    assert set((await second_delta(handler)).upserts) == {"a"}
    assert asked == ["list", "1", "1"]
