"""A service of the multi-cluster services API: exported here, curled there, at the address of its import."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from aiokit.wait import eventually
from e2e.conftest import CLUSTERS, Mesh
from k8s.client import Client
from k8s.resource import DEPLOYMENT, SERVICE, SERVICEEXPORT, SERVICEIMPORT
from lab.demo.objects import NAMESPACE, deployment, service
from lab.demo.steps import until_answered_by

IMPORT_SECONDS = 30.0
NAME = "shop"
EXPORT = {"metadata": {"name": NAME, "namespace": NAMESPACE}}


async def test_an_exported_service_answers_at_the_address_of_its_import_in_each_cluster(mesh: Mesh) -> None:
    async with shops(mesh) as (east, west):
        await west.create(SERVICEEXPORT, EXPORT)
        found = await imported(east, lambda body: body["spec"].get("ips"))
        assert await imported(west, lambda body: body["spec"].get("ips"))
        url = f"http://{found['spec']['ips'][0]}/"
        # east has no such pods: all answers are the other cluster's
        answers = await until_answered_by(mesh.lab, mesh.clients["east"], url, {"west"}, at_least=5)
        assert {answer.cluster for answer in answers[-5:]} == {"west"}

        await mesh.lab.apply("east", deployment(NAME, replicas=1), service(NAME, annotations={}))
        await mesh.lab.wait_pods("east", NAME, 1)
        await east.create(SERVICEEXPORT, EXPORT)
        await until_answered_by(mesh.lab, mesh.clients["east"], url, set(CLUSTERS))
        for client in (east, west):
            await client.delete(SERVICEEXPORT, NAME, NAMESPACE)
        for client in (east, west):
            await eventually(gone(client), IMPORT_SECONDS, 0.1)


@asynccontextmanager
async def shops(mesh: Mesh) -> AsyncIterator[tuple[Client, Client]]:
    """A service with one pod in west, which no annotation makes global."""
    await mesh.lab.apply("west", deployment(NAME, replicas=1), service(NAME, annotations={}))
    await mesh.lab.wait_pods("west", NAME, 1)
    async with mesh.lab.kubernetes("east") as east, mesh.lab.kubernetes("west") as west:
        try:
            yield east, west
        finally:
            for client in (east, west):
                for resource in (SERVICEEXPORT, SERVICE, DEPLOYMENT):
                    await client.delete(resource, NAME, NAMESPACE)


async def imported(client: Client, fits: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    body: dict[str, Any] = {}

    async def is_so() -> bool:
        raw = await client.get(SERVICEIMPORT, NAME, NAMESPACE)
        body.update(msgspec.json.decode(raw) if raw else {})
        return bool(body and fits(body))

    await eventually(is_so, IMPORT_SECONDS, 0.1)
    return body


def gone(client: Client) -> Callable[[], Any]:
    async def is_gone() -> bool:
        return await client.get(SERVICEIMPORT, NAME, NAMESPACE) is None

    return is_gone
