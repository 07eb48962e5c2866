"""What a user of a global service sees: answers from both clusters, failover, recovery."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

from e2e.conftest import Mesh
from lab.demo.driver import Answer
from lab.demo.objects import Object, service
from lab.demo.steps import failover, until_answered_by


async def test_pods_of_both_clusters_answer_one_service(mesh: Mesh) -> None:
    answers = await until_answered_by(mesh.lab, mesh.clients["east"], mesh.url, {"east", "west"})
    assert all(answer.served_by for answer in answers)


async def test_west_answers_when_the_local_backends_vanish_and_no_curl_fails(mesh: Mesh) -> None:
    failed, failover_ms = await failover(mesh.lab, mesh.clients["east"], mesh.url)
    assert failed == 0
    assert failover_ms < 10_000
    await mesh.lab.scale("east", "web", 2)
    answers = await until_answered_by(mesh.lab, mesh.clients["east"], mesh.url, {"east"})
    assert all(answer.served_by for answer in answers)


async def test_a_service_that_is_no_longer_shared_is_served_at_home_only(mesh: Mesh) -> None:
    private = {"service.cilium.io/global": "true", "service.cilium.io/shared": "false"}
    await mesh.lab.apply("west", service("web", annotations=private))
    try:
        async with asyncio.timeout(30):
            while Counter(await _clusters(mesh, 30)).keys() != {"east"}:
                pass
    finally:
        shared = private | {"service.cilium.io/shared": "true"}
        await mesh.lab.apply("west", service("web", annotations=shared))
    answers = await until_answered_by(mesh.lab, mesh.clients["east"], mesh.url, {"east", "west"})
    assert all(answer.served_by for answer in answers)


async def test_session_affinity_keeps_a_client_at_one_pod_of_the_mesh_while_it_has_it(mesh: Mesh) -> None:
    await mesh.lab.apply("east", _sticky("ClientIP"))
    try:
        async with asyncio.timeout(30):  # a run of 20 of one of four pods is no chance
            while len({answer.served_by for answer in await _answers(mesh, 20)}) > 1:
                pass
        failed, _ = await failover(mesh.lab, mesh.clients["east"], mesh.url)
        assert failed == 0
        answers = await _answers(mesh, 20)
        assert len({answer.served_by for answer in answers}) == 1
        assert answers[0].cluster == "west"
    finally:
        await mesh.lab.apply("east", _sticky("None"))
    await mesh.restored()
    await until_answered_by(mesh.lab, mesh.clients["east"], mesh.url, {"east", "west"})


async def test_a_pod_is_answered_by_itself_through_its_service(mesh: Mesh) -> None:
    pod = (await mesh.lab.wait_pods("east", "web", 2))[0]
    async with asyncio.timeout(30), mesh.lab.curling("east", pod, mesh.url) as answers:
        async for answer in answers:
            assert answer.served_by
            if answer.served_by == f"east/{pod}":
                return
    raise AssertionError("curl ended before the pod had answered itself")


async def test_status_says_that_every_peer_is_programmed(mesh: Mesh) -> None:
    status = json.loads(await mesh.lab.command("status", "--context", "east", "-o", "json"))
    assert status["connectivity"]["clusters"]["west"]["configured"] == status["connectivity"]["total"]
    assert status["connectivity"]["clusters"]["west"]["connected"] == status["connectivity"]["total"]


def _sticky(affinity: str) -> Object:
    web = service("web")
    web["spec"]["sessionAffinity"] = affinity
    return web


async def _clusters(mesh: Mesh, count: int) -> list[str]:
    return [answer.cluster for answer in await _answers(mesh, count)]


async def _answers(mesh: Mesh, count: int) -> list[Answer]:
    found: list[Answer] = []
    async with mesh.lab.curling("east", mesh.clients["east"], mesh.url) as answers:
        async for answer in answers:
            found.append(answer)
            if len(found) == count:
                break
    return found
