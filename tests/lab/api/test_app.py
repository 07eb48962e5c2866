"""What kubectl and other plain HTTP clients send: discovery, tables, apply, dry runs, refusals."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from kubernetes.client import ApiClient
from kubernetes.dynamic import DynamicClient

from k8s.access import tls_context
from k8s.resource import CILIUMNODE, CONFIGMAP, CRD, DEPLOYMENT, NAMESPACE, POD
from kvstore.memory import MemoryBackend
from lab.api import watch as api_watch
from lab.api.requests import BODY_LIMIT
from tests.k8s.apiserver import TOKEN, RunningApi, config_map, definition, lab_api, pod

JSON = "application/json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
CONFIGMAPS = CONFIGMAP.path(namespace="default")


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest_asyncio.fixture
async def api(backend: MemoryBackend) -> AsyncIterator[RunningApi]:
    async with lab_api(backend) as running:
        yield running


@pytest_asyncio.fixture
async def http(api: RunningApi) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(ssl=tls_context(api.access))
    async with aiohttp.ClientSession(api.access.server, connector=connector, headers=AUTHORIZED) as session:
        yield session


async def call(
    http: aiohttp.ClientSession, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any]:
    data = {"data": body} if isinstance(body, str | bytes) else {"json": body}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.request(method, path, headers=named, **data) as answer:
        return answer.status, await answer.json()


async def test_health_and_version_need_no_token_but_objects_do(http: aiohttp.ClientSession) -> None:
    for path, status in (
        ("/healthz", 200),
        ("/readyz/etcd", 401),
        ("/livez", 200),
        ("/version", 200),
        ("/api", 401),
    ):
        async with http.get(path, headers={"Authorization": "Bearer wrong"}) as answer:
            assert answer.status == status, path


async def test_the_dynamic_client_discovers_kinds_also_defined_ones(api: RunningApi) -> None:
    await api.client.create(CRD, definition("ciliumnodes", "CiliumNode"))

    def work() -> list[str]:
        with ApiClient(api.configuration()) as client:
            dynamic = DynamicClient(client)
            nodes = dynamic.resources.get(api_version="cilium.io/v2", kind="CiliumNode")
            nodes.create(body={"metadata": {"name": "n1"}, "spec": {}})
            slices = dynamic.resources.get(api_version="discovery.k8s.io/v1", kind="EndpointSlice")
            assert slices.namespaced
            names = [item.metadata.name for item in nodes.get().items]
            client.rest_client.pool_manager.clear()
            return names

    assert await asyncio.to_thread(work) == ["n1"]


async def test_kubectl_gets_a_table_when_it_asks_for_one(
    api: RunningApi, http: aiohttp.ClientSession
) -> None:
    await api.client.create(POD, pod("a"))
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    for path in (POD.path(namespace="default"), POD.path(namespace="default", name="a")):
        status, table = await call(http, "GET", path, Accept=accept)
        titles = [column["name"] for column in table["columnDefinitions"]]
        row = dict(zip(titles, table["rows"][0]["cells"], strict=True))
        assert (status, table["kind"]) == (200, "Table")
        assert (row["Name"], row["Ready"], row["Status"]) == ("a", "0/1", "Pending")


async def test_kubectl_apply_in_its_client_side_form(api: RunningApi, http: aiohttp.ClientSession) -> None:
    async with http.get(
        "/openapi/v2", headers={"Accept": "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"}
    ) as answer:
        assert (answer.status, await answer.read()) == (200, b"\x0a\x032.0")
        assert "@" not in answer.headers["Content-Type"]  # kubectl 1.36 cannot read it as a media type
    path = f"{CONFIGMAPS}/c"
    assert (await call(http, "GET", path))[0] == 404
    body = config_map("c", a="1")
    query = "?fieldManager=kubectl-client-side-apply&fieldValidation=Strict"
    assert (await call(http, "POST", CONFIGMAPS + query, body))[0] == 201
    patch = '{"data":{"a":null,"b":"2"},"metadata":{"annotations":{"k":"v"}}}'
    status, changed = await call(http, "PATCH", path + query, patch, Content_Type=STRATEGIC)
    assert (status, changed["data"], changed["metadata"]["annotations"]) == (200, {"b": "2"}, {"k": "v"})


async def test_kubectl_apply_in_its_server_side_form(http: aiohttp.ClientSession) -> None:
    path = DEPLOYMENT.path(namespace="default", name="web")
    text = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  template: {spec: {containers: [{name: a, image: "1"}]}}
"""
    status, created = await call(http, "PATCH", path + "?fieldManager=kubectl", text, Content_Type=APPLY)
    assert (status, created["spec"]["replicas"]) == (201, 1)
    status, changed = await call(http, "PATCH", path, text.replace('"1"', '"2"'), Content_Type=APPLY)
    assert (status, changed["spec"]["template"]["spec"]["containers"]) == (200, [{"name": "a", "image": "2"}])
    assert changed["metadata"]["generation"] == 2


async def test_a_write_that_changes_nothing_makes_no_new_version(http: aiohttp.ClientSession) -> None:
    _, created = await call(http, "POST", CONFIGMAPS, config_map("c", a="1"))
    _, same = await call(http, "PUT", f"{CONFIGMAPS}/c", config_map("c", a="1"))
    assert same == created


async def test_a_dry_run_stores_nothing(api: RunningApi, http: aiohttp.ClientSession) -> None:
    status, created = await call(http, "POST", f"{CONFIGMAPS}?dryRun=All", config_map("c"))
    assert (status, created["metadata"]["name"]) == (201, "c")
    assert await api.client.get(CONFIGMAP, "c", "default") is None
    await api.client.create(CONFIGMAP, config_map("c"))
    assert (await call(http, "DELETE", f"{CONFIGMAPS}/c?dryRun=All"))[0] == 200
    assert await api.client.get(CONFIGMAP, "c", "default") is not None


REFUSED = (
    ("GET", "/apis/nobody.example/v1/things", None, JSON, 404),
    ("GET", f"{CONFIGMAPS}?labelSelector=a==b==c", None, JSON, 400),
    ("GET", f"{CONFIGMAPS}?watch=1&resourceVersion=abc", None, JSON, 400),
    ("GET", f"{CONFIGMAPS}?continue=nonsense", None, JSON, 400),
    ("GET", f"{CONFIGMAPS}/kube/scale", None, JSON, 404),
    ("POST", f"{CONFIGMAPS}/kube", {}, JSON, 405),
    ("POST", "/api/v1/configmaps", config_map("c"), JSON, 405),
    ("POST", CONFIGMAPS, "{", JSON, 400),
    ("POST", CONFIGMAPS, "[]", JSON, 400),
    ("POST", CONFIGMAPS, config_map("c", "kube-system"), JSON, 400),
    ("POST", CONFIGMAPS, pod("c"), JSON, 400),
    ("POST", CONFIGMAPS, "x", "application/vnd.kubernetes.protobuf", 415),
    ("POST", CONFIGMAPS, {"metadata": {"name": "c", "labels": {"a": 1}}}, JSON, 422),
    ("PATCH", f"{CONFIGMAPS}/c", "{}", STRATEGIC, 404),
    ("PATCH", f"{CONFIGMAPS}/c", "{}", JSON, 415),
)


@pytest.mark.parametrize("refused", REFUSED)
async def test_what_cannot_be_done_is_a_status_object(
    http: aiohttp.ClientSession, refused: tuple[str, str, Any, str, int]
) -> None:
    method, path, body, content_type, status = refused
    answered, told = await call(http, method, path, body, Content_Type=content_type)
    assert (answered, told["kind"], told["status"], told["code"]) == (status, "Status", "Failure", status)


async def test_a_body_over_the_limit_is_refused(http: aiohttp.ClientSession) -> None:
    async with http.post(CONFIGMAPS, data=io.BytesIO(b"x" * (BODY_LIMIT + 1))) as answer:
        assert answer.status == 413


async def test_custom_objects_refuse_strategic_patches_and_blind_replacement(
    api: RunningApi, http: aiohttp.ClientSession
) -> None:
    await api.client.create(CRD, definition("ciliumnodes", "CiliumNode"))
    await api.client.create(CILIUMNODE, {"metadata": {"name": "n"}})
    path = CILIUMNODE.path(name="n")
    assert (await call(http, "PATCH", path, "{}", Content_Type=STRATEGIC))[0] == 415
    body = {"apiVersion": "cilium.io/v2", "kind": "CiliumNode", "metadata": {"name": "n"}}
    assert (await call(http, "PUT", path, body))[0] == 422


async def test_an_etcd_that_fails_is_503_and_reading_goes_on(
    api: RunningApi, http: aiohttp.ClientSession, backend: MemoryBackend
) -> None:
    backend.fail_writes(1)
    assert (await call(http, "POST", CONFIGMAPS, config_map("c")))[0] == 503
    assert (await call(http, "GET", NAMESPACE.path(name="default")))[0] == 200
    assert (await call(http, "POST", CONFIGMAPS, config_map("c")))[0] == 201


async def test_a_watch_sends_bookmarks_and_the_initial_objects_when_asked(
    api: RunningApi, http: aiohttp.ClientSession
) -> None:
    await api.client.create(CONFIGMAP, config_map("c"))
    query = "?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&timeoutSeconds=1"
    async with http.get(CONFIGMAPS + query) as answer:
        text = (await answer.read()).decode()
    added, initial_end, last = text.splitlines()
    assert '"type":"ADDED"' in added
    assert '"type":"BOOKMARK"' in initial_end and api_watch.INITIAL_END in initial_end
    assert '"type":"BOOKMARK"' in last and f'"resourceVersion":"{api.server.status().revision}"' in last
