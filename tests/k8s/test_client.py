"""The client's calls against the lab's API over TLS."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from aiohttp import web

from aiokit.http import serve_tcp
from k8s import objects
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
    names = [objects.decode(raw, objects.ConfigMap).metadata.name for raw in await api.client.list(CONFIGMAP)]
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
    assert objects.decode(raw, objects.Secret).data == {"key": b"value", "other": b"x"}


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
    read = objects.decode(raw, objects.Pod)
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
    from k8s.access import Access

    async with connect(Access("http://127.0.0.1:1")) as client:
        with pytest.raises(UnreachableError):
            await client.list(POD)


async def test_unusable_credentials_are_an_access_error(api: RunningApi) -> None:
    with pytest.raises(AccessError):
        async with connect(
            replace(api.access, client_cert_pem=b"no", client_key_pem=b"certificate")
        ) as client:
            assert isinstance(client, Client)
