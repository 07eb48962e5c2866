"""The client's calls against the lab's API over TLS."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from aiokit.http import serve_tcp
from certs.issue import Authority
from k8s import core, objects
from k8s.access import Access
from k8s.client import PAGE, Client, connect
from k8s.errors import AccessError, APIError, ConflictError, NotFoundError, UnreachableError
from k8s.resource import CILIUMNODE, CONFIGMAP, CRD, DEPLOYMENT, POD, SECRET, SERVICE
from tests.k8s.apiserver import RunningApi, config_map, definition, pod, with_token


async def test_an_absent_object_is_none_and_deleting_it_is_no_error(api: RunningApi) -> None:
    assert await api.client.get(CONFIGMAP, "c", "default") is None
    assert await api.client.delete(CONFIGMAP, "c", "default") is False
    await api.client.create(CONFIGMAP, config_map("c", a="1"))
    assert await api.client.delete(CONFIGMAP, "c", "default") is True


async def test_lists_longer_than_a_page_are_complete(api: RunningApi) -> None:
    for number in range(PAGE + 5):
        await api.client.create(CONFIGMAP, config_map(f"c{number}", i=str(number)))
    names = [objects.decode(raw, core.ConfigMap).metadata.name for raw in await api.client.list(CONFIGMAP)]
    assert sorted(names) == sorted(f"c{number}" for number in range(PAGE + 5))


async def test_selectors_narrow_a_list(api: RunningApi) -> None:
    for name, app in (("a", "web"), ("b", "db")):
        await api.client.create(POD, pod(name, app=app))
    listed = await api.client.list(
        POD, "default", label_selector="app in (web)", field_selector="metadata.name!=z"
    )
    assert [json.loads(raw)["metadata"]["name"] for raw in listed] == ["a"]


async def test_errors_have_classes(api: RunningApi) -> None:
    await api.client.create(CONFIGMAP, config_map("c"))
    with pytest.raises(ConflictError) as twice:
        await api.client.create(CONFIGMAP, config_map("c"))
    assert twice.value.reason == "AlreadyExists"
    stale = config_map("c")
    stale["metadata"]["resourceVersion"] = "1"
    with pytest.raises(ConflictError):
        await api.client.replace(CONFIGMAP, stale)
    with pytest.raises(NotFoundError):
        await api.client.merge_patch(CONFIGMAP, "missing", {}, "default")
    with pytest.raises(APIError) as invalid:
        await api.client.create(CONFIGMAP, config_map("Not A Name"))
    assert (invalid.value.status, invalid.value.reason) == (422, "Invalid")


async def test_apply_creates_then_changes_only_what_differs(api: RunningApi) -> None:
    body = {"metadata": {"name": "s", "namespace": "default"}, "stringData": {"key": "value"}}
    assert await api.client.apply(SECRET, body) == "created"
    before = await api.client.get(SECRET, "s", "default")
    assert await api.client.apply(SECRET, body) == "unchanged"
    assert await api.client.get(SECRET, "s", "default") == before
    assert await api.client.apply(SECRET, {**body, "stringData": {"other": "x"}}) == "changed"
    raw = await api.client.get(SECRET, "s", "default")
    assert raw is not None
    assert objects.decode(raw, core.Secret).data == {"key": b"value", "other": b"x"}


async def test_apply_of_defaulted_kinds_settles(api: RunningApi) -> None:
    service = {"metadata": {"name": "s", "namespace": "default"}, "spec": {"ports": [{"port": 80}]}}
    template = {"spec": {"containers": [{"name": "a", "image": "i"}]}}
    deployment = {
        "metadata": {"name": "d", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    }
    for resource, body in (
        (SERVICE, service),
        (DEPLOYMENT, deployment),
        (CRD, definition("ciliumnodes", "CiliumNode")),
    ):
        assert await api.client.apply(resource, body) == "created"
        assert await api.client.apply(resource, body) == "unchanged"
    assert (
        await api.client.apply(CILIUMNODE, {"metadata": {"name": "n"}, "spec": {"bootid": "b"}}) == "created"
    )


async def test_apply_removes_a_key_that_is_none(api: RunningApi) -> None:
    await api.client.apply(CONFIGMAP, config_map("c", a="1", b="2"))
    removal = {"metadata": {"name": "c", "namespace": "default"}, "data": {"a": None}}
    assert await api.client.apply(CONFIGMAP, removal) == "changed"
    assert await api.client.apply(CONFIGMAP, removal) == "unchanged"
    raw = await api.client.get(CONFIGMAP, "c", "default")
    assert raw is not None
    assert json.loads(raw)["data"] == {"b": "2"}


async def test_status_is_patched_apart_from_the_rest(api: RunningApi) -> None:
    await api.client.create(POD, pod("a"))
    patch = {"status": {"podIP": "10.1.1.1"}, "metadata": {"labels": {"x": "y"}}}
    await api.client.merge_patch(POD, "a", patch, "default", subresource="status")
    raw = await api.client.get(POD, "a", "default")
    assert raw is not None
    read = objects.decode(raw, core.Pod)
    assert (read.status.podIP, read.metadata.labels) == ("10.1.1.1", {})


async def test_a_pods_own_server_is_reached_through_the_api(api: RunningApi) -> None:
    async def hello(request: web.Request) -> web.Response:
        assert "Authorization" not in request.headers  # our token is not the pod's business
        return web.Response(text=f"{request.path} {request.query_string}")

    app = web.Application()
    app.router.add_get("/{path:.*}", hello)
    await api.client.create(POD, pod("a"))
    with pytest.raises(APIError) as addressless:
        await api.client.proxy_get("a", "default", 80, "/v1/healthz")
    assert addressless.value.status == 503
    await api.client.merge_patch(
        POD, "a", {"status": {"podIP": "127.0.0.1"}}, "default", subresource="status"
    )
    async with serve_tcp(app, "127.0.0.1", 0) as port:
        assert (
            await api.client.proxy_get("a", "default", port, "/v1/healthz?brief=1") == b"/v1/healthz brief=1"
        )
    with pytest.raises(APIError):
        await api.client.proxy_get("a", "default", port, "/v1/healthz")


async def test_a_refused_token_is_read_again_once(api: RunningApi) -> None:
    tokens = iter([api.access.token, "not asked for"])
    async with connect(with_token(api.access, "expired", lambda: next(tokens))) as client:
        assert await client.get(POD, "none", "default") is None
    async with connect(with_token(api.access, "expired", lambda: "also expired")) as client:
        with pytest.raises(APIError) as refused:
            await client.get(POD, "none", "default")
    assert refused.value.status == 401


async def test_a_server_of_another_authority_is_unreachable(api: RunningApi) -> None:
    async with connect(replace(api.access, ca_pem=b"")) as client:
        with pytest.raises(UnreachableError, match="certificate"):
            await client.get(POD, "a", "default")


async def test_nobody_listening_is_unreachable() -> None:
    async with connect(Access("http://127.0.0.1:1")) as client:
        with pytest.raises(UnreachableError):
            await client.list(POD)


async def test_unusable_credentials_are_an_access_error(api: RunningApi) -> None:
    with pytest.raises(AccessError):
        async with connect(
            replace(api.access, client_cert_pem=b"no", client_key_pem=b"certificate")
        ) as client:
            assert isinstance(client, Client)


async def test_credentials_that_cannot_be_read_for_the_moment_are_read_again_later(api: RunningApi) -> None:
    states = iter([AccessError("half written"), api.access])

    def renew() -> Access:
        state = next(states)
        if isinstance(state, AccessError):
            raise state
        return state

    async with connect(replace(api.access, token="expired", renew=renew)) as client:
        with pytest.raises(UnreachableError, match="half written"):
            await client.get(POD, "none", "default")
        assert await client.get(POD, "none", "default") is None


async def test_a_replaced_authority_is_read_again(api: RunningApi) -> None:
    stale = Authority.create(datetime.now(UTC)).issued.certificate_pem
    async with connect(replace(api.access, ca_pem=stale, renew=lambda: api.access)) as client:
        assert await client.get(POD, "none", "default") is None


async def test_a_plugin_that_hangs_does_not_hang_us(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang() -> Access:
        assert released.wait(30)
        return api.access

    monkeypatch.setattr("k8s.connection.RENEW_SECONDS", 0.05)
    try:
        async with connect(replace(api.access, token="expired", renew=hang)) as client:
            with pytest.raises(UnreachableError):
                await client.get(POD, "none", "default")
    finally:
        released.set()


async def test_a_list_whose_pages_expired_is_begun_again(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k8s.client.PAGE", 2)
    for name in "abc":
        await api.client.create(CONFIGMAP, config_map(name))
    request, expired = api.client.request, 0

    async def expiring(method: str, path: str, **given: Any) -> bytes:
        """The server forgets the first list between its two pages."""
        nonlocal expired
        if "continue" in (given.get("params") or {}) and not expired:
            expired += 1
            await request("DELETE", CONFIGMAP.path(namespace="default", name="a"))
            api.server.compact()
        return await request(method, path, **given)

    monkeypatch.setattr(api.client, "request", expiring)
    listed = await api.client.list_all(CONFIGMAP, "default", {})
    names = [objects.decode(item, core.ConfigMap).metadata.name for item in listed.items]
    assert (expired, names) == (1, ["b", "c"])


async def test_a_server_that_does_not_answer_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k8s.connection.REQUEST_SECONDS", 0.05)
    app = web.Application()
    app.router.add_get("/{path:.*}", hang_for_ever)
    async with (
        serve_tcp(app, "127.0.0.1", 0) as port,
        connect(Access(f"http://127.0.0.1:{port}")) as client,
    ):
        with pytest.raises(UnreachableError, match="Timeout"):
            await client.list(POD)


async def hang_for_ever(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()
