"""IPv6 beside IPv4, as a user sees it: a Service of both families that both clusters answer, failover, a
killed agent, and a policy. Every protocol, place and kind of address is a cell of the matrix."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from aiokit.wait import eventually
from e2e.conftest import CLUSTERS, Mesh
from e2e.faults import AGENT, curls_counted, kill
from e2e.knocking import Target, knock
from k8s.resource import POD, SERVICE
from lab.demo.objects import ECHO_PORT, NAMESPACE, deny_policy, service
from lab.demo.steps import failover, until_answered_by
from lab.plan import NodePlan

NAME = "web6"
DENY = "web6-denies-east-client"
CHANGE_SECONDS = 30.0
TIMES = 8


@pytest.fixture
async def url(mesh: Mesh) -> AsyncIterator[str]:
    """The IPv6 address of a global Service of both families, in front of `web`'s pods, once all answer."""
    said = service(NAME)
    said["spec"] |= {"ipFamilyPolicy": "RequireDualStack", "selector": {"app": "web"}, "type": "NodePort"}
    try:
        for cluster in CLUSTERS:
            await mesh.lab.apply(cluster, said)
        asked = ("lab", "--name", mesh.lab.lab, "service-ip", "east", NAME, "--ipv6")
        found = f"http://[{(await mesh.lab.command(*asked)).strip()}]/"
        await until_answered_by(mesh.lab, mesh.clients["east"], found, set(CLUSTERS))
        yield found
    finally:
        for cluster in CLUSTERS:
            await mesh.lab.delete(cluster, "Service", NAME)


async def addresses(mesh: Mesh, cluster: str, app: str) -> dict[str, str]:
    """Pods' IPv6 addresses by `cluster/pod`."""
    async with mesh.lab.kubernetes(cluster) as client:
        raw = await client.list(POD, NAMESPACE, label_selector=f"app={app}")
    pods = list(map(msgspec.json.decode, raw))
    return {f"{cluster}/{pod['metadata']['name']}": pod["status"]["podIPs"][1]["ip"] for pod in pods}


async def knocked(mesh: Mesh, places: dict[str, str], seconds: float = 2.0) -> dict[str, Counter[str]]:
    """Who answered east's client at each place, over both protocols."""
    protocols = ("TCP", "UDP")
    targets = [Target(ip, ECHO_PORT, each, TIMES, seconds) for ip in places.values() for each in protocols]
    answers = iter(await knock(mesh, "east", mesh.clients["east"], targets))
    return {name: next(answers) + next(answers) for name in places}


async def test_pods_of_both_clusters_answer_at_the_ipv6_address_of_one_service(mesh: Mesh, url: str) -> None:
    wanted = set(CLUSTERS)
    answers = await until_answered_by(mesh.lab, mesh.clients["east"], url, wanted, at_least=40)
    assert all(answer.served_by for answer in answers)


async def test_a_node_port_is_met_by_pods_at_their_node_s_ipv6_address(mesh: Mesh, url: str) -> None:
    async with mesh.lab.kubernetes("east") as client:
        spec = msgspec.json.decode(await client.get(SERVICE, NAME, NAMESPACE) or b"{}")["spec"]
    node = await mesh.node_of_client("east")
    assert node.pod_cidr6 is not None
    place = f"http://[{node.pod_cidr6[1]}]:{spec['ports'][0]['nodePort']}/"
    answers = await until_answered_by(mesh.lab, mesh.clients["east"], place, set(CLUSTERS), at_least=20)
    assert all(answer.served_by for answer in answers)


async def test_when_the_local_backends_vanish_the_other_cluster_answers_over_ipv6(
    mesh: Mesh, url: str
) -> None:
    failed, failover_ms = await failover(mesh.lab, mesh.clients["east"], url)
    assert (failed, failover_ms < 10_000) == (0, True)
    await mesh.restored()
    answers = await until_answered_by(mesh.lab, mesh.clients["east"], url, {"east"})
    assert all(answer.served_by for answer in answers)


async def test_a_killed_agent_is_not_noticed_over_ipv6_and_the_next_one_knows_its_pods(
    mesh: Mesh, url: str
) -> None:
    node = await mesh.node_of_client("east")
    before = await asked(mesh, node, "endpoint", "list")
    async with curls_counted(mesh.lab, "east", mesh.clients["east"], url) as answers:
        await kill(node, *AGENT)
        await equal(mesh, node)
    assert answers and all(answer.served_by for answer in answers)
    after = await asked(mesh, node, "endpoint", "list")
    assert [addressing(each) for each in after] == [addressing(each) for each in before]
    assert all(each["ipv6"].startswith("fd00:10:1:") for each in map(addressing, after))


async def test_a_policy_denies_an_identity_at_both_its_addresses(mesh: Mesh) -> None:
    places = await addresses(mesh, "east", "web") | await addresses(mesh, "west", "web")
    assert await knocked(mesh, places) == {name: Counter({name: 2 * TIMES}) for name in places}
    denied = deny_policy(DENY, protects="web", app="client", cluster="east")
    await mesh.lab.apply("west", denied)
    try:
        silent = {name: Counter({"": 2 * TIMES}) for name in places if name.startswith("west/")}

        async def is_denied() -> bool:
            return await knocked(mesh, {name: places[name] for name in silent}, 0.25) == silent

        await eventually(is_denied, CHANGE_SECONDS)
        near = {name: ip for name, ip in places.items() if name not in silent}
        assert await knocked(mesh, near) == {name: Counter({name: 2 * TIMES}) for name in near}
    finally:
        await mesh.lab.delete("west", "CiliumNetworkPolicy", DENY)


async def asked(mesh: Mesh, node: NodePlan, *command: str) -> Any:
    socket = mesh.lab.paths.node(node).agent_socket
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.dbg", "--host", str(socket), *command, "-o", "json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(CHANGE_SECONDS):
        said, _ = await process.communicate()
    return json.loads(said or b"null")


async def equal(mesh: Mesh, node: NodePlan) -> None:
    """Once the new agent answers, every kernel map is what is wanted of it."""

    async def is_equal() -> bool:
        said = await asked(mesh, node, "verify")
        return bool(said and said["equal"] and said["settled"])

    await eventually(is_equal, CHANGE_SECONDS, 0.2)


def addressing(endpoint: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = endpoint["status"]["networking"]["addressing"][0]
    return found
