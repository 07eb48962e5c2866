"""`service` against API servers whose agents are small HTTP servers, and a peer that is asked itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec
import pytest

from cli import service, status
from k8s.resource import NAMESPACE, SERVICE
from tests.cli.conftest import Clusters
from tests.cli.test_meshstatus import READY
from tests.cli.test_status import MIRRORED, connected, pod

TOLD = b"""[{"namespace":"default","name":"web","exists":true,"global":true,"shared":true,"node-only":false,
"preference":"","problems":[],"clusters":[{"name":"east","backends":2,"matching":2,"used":2}]}]"""


@pytest.fixture(autouse=True)
def own_ports(monkeypatch: pytest.MonkeyPatch, unused_tcp_port_factory: Callable[[], int]) -> None:
    """The pods listen on fixed ports; another test run on this machine may have them."""
    port = unused_tcp_port_factory()
    monkeypatch.setattr(status, "AGENTS", replace(status.AGENTS, port=port))
    monkeypatch.setattr(status, "KVSTOREMESH", replace(status.KVSTOREMESH, port=unused_tcp_port_factory()))
    monkeypatch.setattr(service, "AGENT_HEALTH_PORT", port)


@asynccontextmanager
async def mesh(clusters: Clusters, told: bytes = TOLD) -> AsyncGenerator[None]:
    await connected(clusters)
    paths = {service.PATH: told, status.AGENTS.path: READY}
    async with (
        pod(clusters, "agent-1", status.AGENTS, READY, paths),
        pod(clusters, "apiserver-1", status.KVSTOREMESH, MIRRORED),
    ):
        yield


async def test_a_missing_annotation_in_the_peer_is_named_by_asking_it(clusters: Clusters) -> None:
    west = clusters.client("west")
    await west.create(NAMESPACE, {"metadata": {"name": "shop"}})
    body = {"metadata": {"name": "web", "namespace": "default"}, "spec": {"ports": [{"port": 80}]}}
    await west.create(SERVICE, body)
    async with mesh(clusters):
        result = await clusters.run("service", "status", "web", "--context", "east")
        assert result.exit_code == 0, result.output
        assert "(service-not-global)" in result.stdout
        assert "kubectl --context west -n default annotate service web" in result.stdout
        blind = await clusters.run("service", "status", "web", "--context", "east", "--no-ask-peers")
        assert "--destination-context CONTEXT" in blind.stdout
        listed = await clusters.run("service", "list", "--context", "east")
        assert "east 2" in listed.stdout
        objects = msgspec.json.decode(
            (await clusters.run("service", "list", "default", "--context", "east", "-o", "json")).stdout
        )
        assert [each["name"] for each in objects] == ["web"]
        assert (await clusters.run("service", "list", "shop", "--context", "east")).exit_code == 0


async def test_a_service_that_is_nowhere_is_served_by_nobody(clusters: Clusters) -> None:
    async with mesh(clusters, b"[]"):
        result = await clusters.run("service", "status", "shop/none", "--context", "east", "-o", "json")
    assert result.exit_code == 1
    found = msgspec.json.decode(result.stdout)
    assert (found["exists"], found["served"]) == (False, False)
    assert {each["check"] for each in found["clusters"]} == {"service-missing"}


async def test_without_agents_it_says_where_to_look(clusters: Clusters) -> None:
    await connected(clusters)
    result = await clusters.run("service", "list", "--context", "east")
    assert result.exit_code == 1
    assert "no agent of east answers" in result.stderr
    assert "clustermesh status --context east" in result.stderr
