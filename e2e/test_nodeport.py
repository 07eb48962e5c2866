"""A global service's node port: every node of a cluster serves it, with the pods of both clusters."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from aiokit.wait import eventually
from e2e.conftest import Mesh
from e2e.knocking import Target, knock
from e2e.nodeports import (
    FRONT,
    NODE_PORT,
    OWN_PORT,
    TIMES,
    all_targets,
    own_port_server,
    own_port_service,
    plain,
    refusal,
    targets,
    until_from,
    web,
    without_world,
)
from e2e.outside import knock_from, outside
from k8s.client import Client
from k8s.resource import CONFIGMAP, POD
from lab.demo.driver import is_ready

BOTH = {"east", "west"}
DENY = "web-denies-the-world"


@pytest.fixture
def client(connected: Mesh) -> Iterator[str]:
    with outside(connected.plan) as namespace:
        yield namespace


@pytest.fixture
async def served(mesh: Mesh) -> AsyncIterator[Mesh]:
    """East's `web` has a node port; each cluster serves it by TCP and by UDP."""
    await mesh.lab.apply("west", web("ClusterIP"))
    await mesh.lab.apply("east", web("NodePort"))
    yield mesh
    for cluster in BOTH:
        await mesh.lab.apply(cluster, plain())


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
async def test_both_clusters_answer_through_any_node_a_client_outside_and_a_pod(
    served: Mesh, client: str, protocol: str
) -> None:
    await until_from(lambda: knock_from(client, all_targets(served.plan, protocol)), BOTH)
    asked = targets(served.plan, protocol)
    await until_from(lambda: knock(served, "east", served.clients["east"], asked), BOTH)


async def test_a_policy_that_denies_the_world_denies_clients_outside_on_every_way(
    served: Mesh, client: str
) -> None:
    asked = all_targets(served.plan, "TCP")
    await until_from(lambda: knock_from(client, asked), BOTH)
    denied = [msgspec.structs.replace(each, times=4, seconds=0.5) for each in asked]
    try:
        for cluster in BOTH:
            await served.lab.apply(cluster, without_world(DENY))
        await until_from(lambda: knock_from(client, denied), {""})
        inside = targets(served.plan, "TCP")
        await until_from(lambda: knock(served, "east", served.clients["east"], inside), BOTH)
    finally:
        for cluster in BOTH:
            await served.lab.delete(cluster, "CiliumNetworkPolicy", DENY)
    await until_from(lambda: knock_from(client, asked), BOTH)


async def test_the_other_cluster_answers_when_the_own_backends_are_gone(served: Mesh, client: str) -> None:
    asked = all_targets(served.plan, "TCP")
    await until_from(lambda: knock_from(client, asked), BOTH)
    async with asyncio.TaskGroup() as group:
        many = knock_from(client, all_targets(served.plan, "TCP", 10 * TIMES))
        asking = group.create_task(many, name="ask under way")
        group.create_task(served.lab.scale("east", "web", 0), name="scale east's web to 0")
    assert [each[""] for each in asking.result()] == [0, 0, 0, 0]
    await until_from(lambda: knock_from(client, asked), {"west"})


async def test_a_node_with_own_backends_answers_alone_where_the_service_says_so(
    served: Mesh, client: str
) -> None:
    await served.lab.apply("east", web("NodePort", "Local"))
    await until_from(lambda: knock_from(client, all_targets(served.plan, "TCP")), {"east"})
    nodes = await knock_from(client, all_targets(served.plan, "TCP"))
    assert [len(answers) for answers in nodes] == [1, 1, 1, 1]  # two pods of east on two nodes
    assert nodes[0] == nodes[2] != nodes[1] == nodes[3]
    pod = served.clients["east"]
    await until_from(lambda: knock(served, "east", pod, targets(served.plan, "TCP")), BOTH)


async def test_a_process_of_a_node_cannot_bind_the_node_port_and_a_pod_can(served: Mesh, client: str) -> None:
    await until_from(lambda: knock_from(client, targets(served.plan, "TCP")), BOTH)
    async with served.lab.kubernetes("east") as api:
        agents = await _agents(api)  # they are in their nodes' own networks
    assert [await refusal(served, each, NODE_PORT) for each in agents] == [errno.EPERM] * 2
    assert [await refusal(served, each, NODE_PORT + 1) for each in agents] == [0, 0]
    assert await refusal(served, served.clients["east"], NODE_PORT) == 0


async def test_a_pod_on_a_node_s_own_network_serves_clients_outside_at_the_node_port_s_own_number(
    mesh: Mesh, client: str
) -> None:
    """Who may bind it: nobody of a node as long as the Service leads to another number."""
    node = mesh.plan.cluster("east").nodes[1]
    async with mesh.lab.kubernetes("east") as api:
        agent = next(iter(await _agents(api)))
    try:
        for target, told in (("http", errno.EPERM), (OWN_PORT, 0)):
            await mesh.lab.apply("east", own_port_service(target))

            async def is_told(told: int = told) -> bool:
                return await refusal(mesh, agent, OWN_PORT) == told

            await eventually(is_told, 20, 0.1)
        await mesh.lab.apply("east", own_port_server(node.name))
        asked = [Target(str(node.ip), OWN_PORT)]
        await until_from(lambda: knock_from(client, asked), {"east"})
    finally:
        await mesh.lab.delete("east", "Deployment", FRONT)
        await mesh.lab.delete("east", "Service", FRONT)


async def _set(mesh: Mesh, **settings: str | None) -> None:
    """Agents of east read their settings when they start."""
    data = {key.replace("_", "-"): value for key, value in settings.items()}
    async with mesh.lab.kubernetes("east") as api:
        await api.merge_patch(CONFIGMAP, "cilium-config", {"data": data}, "kube-system")
        before = await _agents(api)
        for name in before:
            await api.delete(POD, name, "kube-system")

        async def are_new() -> bool:
            pods = await _agents(api)
            return len(pods) == len(before) and all(pods.values()) and not pods.keys() & before.keys()

        await eventually(are_new, 60, 0.1)


async def _agents(api: Client) -> dict[str, bool]:
    """Name -> is ready."""
    found = await api.list(POD, "kube-system", label_selector="k8s-app=clustermesh-agent")
    return {pod["metadata"]["name"]: is_ready(pod) for pod in map(msgspec.json.decode, found)}


async def test_with_maglev_a_client_s_port_leads_to_the_same_pod_through_every_node(
    served: Mesh, client: str
) -> None:
    """40 ports and four pods: that chance gives the same through both nodes has the odds 4 ** -40."""
    nodes = served.plan.cluster("east").nodes[1:]
    asked = [
        Target(str(ip), NODE_PORT, "UDP", source_port=port)
        for port in range(61_300, 61_300 + TIMES)
        for ip in [*(node.ip for node in nodes), *(node.ip6 for node in nodes)]
    ]
    await _set(served, bpf_lb_algorithm="maglev", bpf_lb_maglev_table_size="1021")
    try:
        await until_from(lambda: knock_from(client, all_targets(served.plan, "UDP")), BOTH)
        answers = await knock_from(client, asked)
        assert answers[::2] == answers[1::2]
        assert len({name for each in answers for name in each}) == 4
    finally:
        await _set(served, bpf_lb_algorithm=None, bpf_lb_maglev_table_size=None)
