"""`status` against an API server whose agents are small HTTP servers, reached through the pods' proxy."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web

from aiokit.http import serve_tcp
from cli import settings
from k8s.resource import DEPLOYMENT, POD
from tests.cli.conftest import Clusters
from tests.cli.test_meshstatus import DOWN, READY


@asynccontextmanager
async def agent(clusters: Clusters, body: bytes) -> AsyncGenerator[None]:
    """One agent in east, answering `body`."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(body=body)

    app = web.Application()
    app.add_routes([web.get("/v1/healthz", healthz)])
    async with serve_tcp(app, "127.0.0.1", settings.AGENT_HEALTH_PORT):
        labels = {"k8s-app": "clustermesh-agent"}
        pod = {"metadata": {"name": "agent-1", "namespace": "kube-system", "labels": labels}}
        pod["spec"] = {"nodeName": "node-1", "containers": [{"name": "agent", "image": "i"}]}
        client = clusters.client("east")
        await client.create(POD, pod)
        status = {"status": {"phase": "Running", "podIP": "127.0.0.1"}}
        await client.merge_patch(POD, "agent-1", status, "kube-system", "status")
        yield


async def connected(clusters: Clusters) -> None:
    await clusters.enable()
    for name in ("east", "west"):
        status = {
            "status": {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "observedGeneration": 99}
        }
        await clusters.client(name).merge_patch(
            DEPLOYMENT, "clustermesh-apiserver", status, "kube-system", "status"
        )
    result = await clusters.run("connect", "--context", "east", "--destination-context", "west")
    assert result.exit_code == 0, result.output


@pytest.fixture(autouse=True)
def own_port(monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> None:
    """Agents listen on a fixed port; another test run on this machine may have it."""
    monkeypatch.setattr("cli.status.AGENT_HEALTH_PORT", unused_tcp_port)
    monkeypatch.setattr(settings, "AGENT_HEALTH_PORT", unused_tcp_port)


async def test_a_ready_mesh_ends_with_status_0(clusters: Clusters) -> None:
    await connected(clusters)
    async with agent(clusters, READY):
        result = await clusters.run("status", "--context", "east", "-o", "json")
        assert result.exit_code == 0, result.output
        found = msgspec.json.decode(result.stdout)
        assert found["ready"] is True
        assert found["connectivity"]["clusters"]["west"]["programmed"] == 1
        assert found["access_information"]["cluster_name"] == "east"
        table = await clusters.run("status", "--context", "east")
        assert "1/1 programmed" in table.stdout


async def test_a_peer_that_is_down_ends_with_status_1_and_says_why(clusters: Clusters) -> None:
    await connected(clusters)
    async with agent(clusters, DOWN):
        result = await clusters.run("status", "--context", "east")
        assert result.exit_code == 1
        assert "agent-1 is not connected to cluster west: Waiting for initial connection" in result.stdout


async def test_waiting_has_an_end(clusters: Clusters) -> None:
    await connected(clusters)
    async with agent(clusters, DOWN):
        result = await clusters.run("status", "--context", "east", "--wait", "--wait-duration", "700ms")
        assert result.exit_code == 1
        assert "waiting until everything is ready" in result.stderr


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
