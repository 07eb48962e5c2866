"""`status` against an API server whose agents are small HTTP servers, reached through the pods' proxy."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from aiohttp import web

from aiokit.http import serve_tcp
from cli import exporterask, status
from k8s.resource import DEPLOYMENT, POD
from tests.cli.conftest import Clusters
from tests.cli.test_meshstatus import DOWN, READY

MIRRORED = b"""[{"name":"west","connected":true,"ready":true,"status":"etcd: 1/1 connected",
"config":{"required":true,"retrieved":true},
"synced":{"nodes":true,"endpoints":true,"identities":true,"services":true,"service-exports":true}}]"""


@asynccontextmanager
async def agent(clusters: Clusters, body: bytes, mirrored: bytes = MIRRORED) -> AsyncGenerator[None]:
    """One agent in east, answering `body`, and one KVStoreMesh, answering `mirrored`."""
    async with (
        pod(clusters, "agent-1", status.AGENTS, body),
        pod(clusters, "apiserver-1", status.KVSTOREMESH, mirrored),
    ):
        yield


@asynccontextmanager
async def pod(
    clusters: Clusters,
    name: str,
    reader: status.Reader,
    body: bytes,
    paths: Mapping[str, bytes] | None = None,
) -> AsyncGenerator[None]:
    said = paths or {reader.path: body}

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=said[request.path])

    app = web.Application()
    app.add_routes([web.get(path, answer) for path in said])
    async with serve_tcp(app, "127.0.0.1", reader.port):
        labels = {"k8s-app": reader.app}
        pod = {"metadata": {"name": name, "namespace": "kube-system", "labels": labels}}
        pod["spec"] = {"nodeName": "node-1", "containers": [{"name": "agent", "image": "i"}]}
        client = clusters.client("east")
        await client.create(POD, pod)
        running = {"status": {"phase": "Running", "podIP": "127.0.0.1"}}
        await client.merge_patch(POD, name, running, "kube-system", "status")
        yield


async def connected(clusters: Clusters) -> None:
    await clusters.enable()
    for name in ("east", "west"):
        ready = {
            "status": {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "observedGeneration": 99}
        }
        await clusters.client(name).merge_patch(
            DEPLOYMENT, "clustermesh-apiserver", ready, "kube-system", "status"
        )
    result = await clusters.run("connect", "--context", "east", "--destination-context", "west")
    assert result.exit_code == 0, result.output


@pytest.fixture(autouse=True)
def own_ports(monkeypatch: pytest.MonkeyPatch, unused_tcp_port_factory: Callable[[], int]) -> None:
    """The pods listen on fixed ports; another test run on this machine may have them."""
    for name in ("AGENTS", "KVSTOREMESH"):
        moved = replace(getattr(status, name), port=unused_tcp_port_factory())
        monkeypatch.setattr(status, name, moved)
    monkeypatch.setattr(status, "EXPORTER_PORT", unused_tcp_port_factory())
    monkeypatch.setattr(status, "PROXY_PORT", unused_tcp_port_factory())


async def test_a_ready_mesh_ends_with_status_0(clusters: Clusters) -> None:
    await connected(clusters)
    async with agent(clusters, READY):
        result = await clusters.run("status", "--context", "east", "-o", "json")
        assert result.exit_code == 0, result.output
        found = msgspec.json.decode(result.stdout)
        assert found["ready"] is True
        assert found["connectivity"]["clusters"]["west"]["programmed"] == 1
        assert found["access_information"]["cluster_name"] == "east"
        assert found["kvstoremesh"]["enabled"] is True
        assert found["kvstoremesh"]["status"]["clusters"]["west"]["connected"] == 1
        table = await clusters.run("status", "--context", "east")
        assert "1/1 programmed" in table.stdout


async def test_a_peer_that_is_down_ends_with_status_1_and_says_why(clusters: Clusters) -> None:
    await connected(clusters)
    async with agent(clusters, DOWN):
        result = await clusters.run("status", "--context", "east")
        assert result.exit_code == 1
        assert "agent-1 is not connected to cluster west: Waiting for initial connection" in result.stdout


async def test_a_peer_that_kvstoremesh_has_lost_is_named_though_agents_have_its_copies(
    clusters: Clusters,
) -> None:
    await connected(clusters)
    lost = b'[{"name":"west","status":"etcd: 0/1 connected: refused","config":{},"synced":{}}]'
    async with agent(clusters, READY, lost):
        result = await clusters.run("status", "--context", "east")
        assert result.exit_code == 1
        assert "apiserver-1 is not connected to cluster west: etcd: 0/1 connected: refused" in result.stdout
        assert "KVStoreMesh: 1/1 configured, 0/1 connected, 0/1 ready" in result.stdout


async def test_an_exporter_s_trouble_is_told(clusters: Clusters) -> None:
    await connected(clusters)
    kinds = [
        {"scope": "ip/v1", "refused": 3},
        {"scope": "identities/v1", "refused": 1},
        {"scope": "nodes/v1"},
    ]

    async def said(_: web.Request) -> web.Response:
        return web.json_response({"cluster": "east", "kinds": kinds, "heartbeat-error": "DEADLINE_EXCEEDED"})

    app = web.Application()
    app.add_routes([web.get(exporterask.PATH, said)])
    async with agent(clusters, READY), serve_tcp(app, "127.0.0.1", status.EXPORTER_PORT):
        text = (await clusters.run("status", "--context", "east")).stdout
        assert "Not exported: 3 ip/v1 (" in text
        assert "the exporter cannot write to its etcd: DEADLINE_EXCEEDED (apiserver-1)" in text
        found = msgspec.json.decode((await clusters.run("status", "--context", "east", "-o", "json")).stdout)
        assert found["unexported"] == {"ip/v1": 3}
        assert [each["check"] for each in found["causes"]] == ["control-plane-down"]


async def test_an_operator_that_is_not_up_is_told_where_there_is_one(clusters: Clusters) -> None:
    await connected(clusters)
    operator: dict[str, Any] = {"metadata": {"name": "clustermesh-operator", "namespace": "kube-system"}}
    selector = {"matchLabels": {"a": "b"}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "o", "image": "i"}]}}
    operator["spec"] = {"replicas": 1, "selector": selector, "template": template}
    async with agent(clusters, READY):
        await clusters.client("east").create(DEPLOYMENT, operator)
        result = await clusters.run("status", "--context", "east")
    assert result.exit_code == 1
    assert "❌ Deployment clustermesh-operator: 0 of 1 ready" in result.stdout


async def test_a_control_plane_that_is_not_up_names_the_container_it_waits_for_and_why(
    clusters: Clusters,
) -> None:
    await connected(clusters)

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(status=500, text="NotReady: the certificate is not valid before 2026")

    app = web.Application()
    app.add_routes([web.get("/readyz", readyz)])
    running = {"running": {"startedAt": "2026-11-27T03:00:00Z"}}
    containers = [
        {"name": "proxy", "ready": False, "state": running},
        {"name": "apiserver", "ready": False, "state": running},
        {"name": "etcd", "ready": False, "restartCount": 3, "state": {"terminated": {"message": "panic: x"}}},
    ]
    async with agent(clusters, READY), serve_tcp(app, "127.0.0.1", status.PROXY_PORT):
        client = clusters.client("east")
        told = {"status": {"containerStatuses": containers}}
        await client.merge_patch(POD, "apiserver-1", told, "kube-system", "status")
        gone = {"status": {"readyReplicas": 0}}
        await client.merge_patch(DEPLOYMENT, "clustermesh-apiserver", gone, "kube-system", "status")
        result = await clusters.run("status", "--context", "east")
    assert result.exit_code == 1
    waits = "not ready: apiserver, proxy: the certificate is not valid before 2026"
    assert f"Deployment clustermesh-apiserver: 0 of 1 ready ({waits})" in result.stdout
    assert "container etcd is not running, started again 3 times: panic: x (apiserver-1)" in result.stdout


FULL = "etcdserver: mvcc: database space exceeded"


@pytest.mark.parametrize(
    "trouble",
    [
        {"kinds": [{"scope": "nodes/v1"}, {"scope": "ip/v1", "last-error": FULL, "digest": ""}]},
        {"kinds": [{"scope": "ip/v1", "last-error": ""}], "heartbeat-error": FULL},  # a quiet cluster
    ],
    ids=["an entry", "the heartbeat"],
)
async def test_an_etcd_that_is_full_is_named_though_all_are_connected(
    clusters: Clusters, trouble: dict[str, Any]
) -> None:
    await connected(clusters)

    async def said(_: web.Request) -> web.Response:
        return web.json_response({"cluster": "east", **trouble})

    app = web.Application()
    app.add_routes([web.get(exporterask.PATH, said)])
    async with agent(clusters, READY), serve_tcp(app, "127.0.0.1", status.EXPORTER_PORT):
        result = await clusters.run("status", "--context", "east", "-o", "json")
        assert result.exit_code == 1
        found = msgspec.json.decode(result.stdout)
        assert [(each["check"], each["readers"]) for each in found["causes"]] == [
            ("store-full", ["apiserver-1"])
        ]
        assert found["ready"] is False
        text = (await clusters.run("status", "--context", "east")).stdout
        assert "apiserver-1: the mesh's own etcd takes no more writes" in text


async def test_waiting_has_an_end(clusters: Clusters) -> None:
    await connected(clusters)
    async with agent(clusters, DOWN):
        result = await clusters.run("status", "--context", "east", "--wait", "--wait-duration", "700ms")
        assert result.exit_code == 1
        assert "waiting for east: west: 0/1 agents ready; control-plane-down (east)" in result.stderr


async def test_an_agent_that_does_not_answer_is_named(clusters: Clusters) -> None:
    await connected(clusters)
    async with agent(clusters, READY):
        pass
    result = await clusters.run("status", "--context", "east")
    assert result.exit_code == 1
    assert "agent-1 cannot be asked" in result.stdout


async def test_a_cluster_without_a_mesh_says_which_command_makes_one(clusters: Clusters) -> None:
    result = await clusters.run("status", "--context", "east")
    assert result.exit_code == 1
    assert "run 'clustermesh enable --context east'" in result.stdout


async def test_several_clusters_are_one_picture(clusters: Clusters) -> None:
    await connected(clusters)
    async with agent(clusters, READY):
        for more in (("--destination-context", "west"), ("--all",)):
            result = await clusters.run("status", "--context", "east", *more, "-o", "json")
            assert result.exit_code == 1  # nobody runs in west
            found = msgspec.json.decode(result.stdout)
            assert found["matrix"]["east"]["west"]["state"] == "ready"
            assert set(found["clusters"]) == {"east", "west"}
        shown = await clusters.run("status", "--context", "east", "--all")
        assert "✓" in shown.stdout


async def test_a_context_that_leads_nowhere_is_a_row_and_not_the_end(clusters: Clusters) -> None:
    await connected(clusters)
    async with agent(clusters, READY):
        result = await clusters.run("status", "--context", "east", "--destination-context", "nowhere")
    assert result.exit_code == 1
    assert "nowhere: ❌" in result.stdout
