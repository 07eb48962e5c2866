"""Policies of every kind against real packets: by identity, by prefix, both directions, across clusters."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from e2e.conftest import Mesh
from k8s.resource import POD
from lab.demo.objects import ECHO_PORT, NAMESPACE, Object, deny_policy
from lab.demo.steps import count_drops, is_denied, until_answered_by
from lab.plan import NodePlan


async def test_a_remote_identity_is_denied_while_the_policy_stands(mesh: Mesh) -> None:
    client = mesh.clients["east"]
    await mesh.lab.scale("east", "web", 0)
    await mesh.lab.wait_pods("east", "web", 0)
    await until_answered_by(mesh.lab, client, mesh.url, {"west"})
    before = count_drops(mesh.plan, "west")

    policy = deny_policy("no-east-client", protects="web", app="client", cluster="east")
    await mesh.lab.apply("west", policy)
    try:
        assert await is_denied(mesh.lab, client, mesh.url)
        assert count_drops(mesh.plan, "west") > before
        own = f"http://{await mesh.lab.cluster_ip('west', 'web')}/"
        assert (await mesh.lab.curl("west", mesh.clients["west"], own)).cluster == "west"
    finally:
        await mesh.lab.delete("west", "CiliumNetworkPolicy", "no-east-client")
    answers = await until_answered_by(mesh.lab, client, mesh.url, {"west"})
    assert answers[-1].cluster == "west"


OUTSIDE = "203.0.113.7"  # an address that no cluster knows
ANY_CLUSTER = {"key": "io.cilium.k8s.policy.cluster", "operator": "Exists"}
WEB = {"matchLabels": {"app": "web"}}
WEB_ANYWHERE = {**WEB, "matchExpressions": [ANY_CLUSTER]}
HTTP = [{"ports": [{"port": "http", "protocol": "TCP"}]}]
CHANGE_SECONDS = 20.0


async def find_pod(mesh: Mesh, cluster: str, app: str) -> dict[str, Any]:
    async with mesh.lab.kubernetes(cluster) as client:
        raw = await client.list(POD, NAMESPACE, label_selector=f"app={app}")
        return next(pod for pod in map(msgspec.json.decode, raw) if pod["status"].get("podIP"))


def node_of(mesh: Mesh, pod: dict[str, Any]) -> NodePlan:
    """East's node that a pod of east is on."""
    return next(n for n in mesh.plan.cluster("east").nodes if n.name in pod["spec"]["nodeName"])


async def web_url(mesh: Mesh, cluster: str) -> str:
    pod = await find_pod(mesh, cluster, "web")
    return f"http://{pod['status']['podIP']}:{ECHO_PORT}/"


async def until(mesh: Mesh, url: str, *, answered: bool, cluster: str = "east") -> None:
    """Curl from `cluster`'s client until that is so twice in a row."""
    steady = 0
    async with (
        asyncio.timeout(CHANGE_SECONDS),
        mesh.lab.curling(cluster, mesh.clients[cluster], url) as answers,
    ):
        async for answer in answers:
            steady = steady + 1 if bool(answer.served_by) == answered else 0
            if steady == 2:
                return


@asynccontextmanager
async def policy(mesh: Mesh, cluster: str, app: str, **spec: Any) -> AsyncGenerator[None]:
    """A CiliumNetworkPolicy for pods labelled app=<app> while the block runs."""
    said: Object = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "under-test", "namespace": NAMESPACE},
        "spec": {"endpointSelector": {"matchLabels": {"app": app}}, **spec},
    }
    await mesh.lab.apply(cluster, said)
    try:
        yield
    finally:
        await mesh.lab.delete(cluster, "CiliumNetworkPolicy", "under-test")


async def test_egress_is_closed_and_opened_by_the_identity_of_pods_of_both_clusters(mesh: Mesh) -> None:
    near, far = await web_url(mesh, "east"), await web_url(mesh, "west")
    async with policy(mesh, "east", "client", egress=[{"toEndpoints": [WEB], "toPorts": HTTP}]):
        await until(mesh, far, answered=False)
        await until(mesh, near, answered=True)
    everywhere = {"toEndpoints": [WEB_ANYWHERE]}
    async with policy(mesh, "east", "client", egress=[everywhere]):
        await until(mesh, far, answered=True)
        await until(mesh, near, answered=True)
    west = {"matchLabels": {"app": "web", "io.cilium.k8s.policy.cluster": "west"}}
    async with policy(mesh, "east", "client", egress=[everywhere], egressDeny=[{"toEndpoints": [west]}]):
        await until(mesh, far, answered=False)
        await until(mesh, near, answered=True)
    await until(mesh, far, answered=True)


async def test_answers_pass_although_their_own_direction_is_closed(mesh: Mesh) -> None:
    far = await web_url(mesh, "west")
    async with policy(mesh, "west", "web", egress=[{}]), policy(mesh, "east", "client", ingress=[{}]):
        await until(mesh, far, answered=True)


@asynccontextmanager
async def outside(mesh: Mesh) -> AsyncGenerator[str]:
    """A web server on an address that is no pod's and no node's, beside east's client."""
    client = await find_pod(mesh, "east", "client")
    node = node_of(mesh, client)
    inside = ("nsenter", f"--net=/run/netns/{node.namespace}")
    address = ("ip", "address", "{}", f"{OUTSIDE}/32", "dev", "lo")

    async def change(what: str) -> None:
        process = await asyncio.create_subprocess_exec(*inside, *(part.format(what) for part in address))
        assert await process.wait() == 0

    await change("add")
    server = await asyncio.create_subprocess_exec(
        *(*inside, sys.executable, "-m", "lab.echo", str(ECHO_PORT)),
        env={**os.environ, "CLUSTER_NAME": "nowhere", "POD_NAME": "server"},
    )
    try:
        yield f"http://{OUTSIDE}:{ECHO_PORT}/"
    finally:
        server.kill()
        await server.wait()
        await change("delete")


async def test_the_longest_prefix_decides_about_the_world(mesh: Mesh) -> None:
    near = await web_url(mesh, "east")
    async with outside(mesh) as url:
        await until(mesh, url, answered=True)
        async with policy(mesh, "east", "client", egress=[{"toCIDR": ["203.0.112.0/23"]}]):
            await until(mesh, near, answered=False)
            await until(mesh, url, answered=True)
        holed = {"cidr": "0.0.0.0/0", "except": ["203.0.113.0/28"]}
        async with policy(mesh, "east", "client", egress=[{"toCIDRSet": [holed]}, {"toEndpoints": [WEB]}]):
            await until(mesh, url, answered=False)
            await until(mesh, near, answered=True)
        async with policy(mesh, "east", "client", egress=[{"toEntities": ["world"]}]):
            await until(mesh, url, answered=True)


async def test_a_network_policy_closes_web_to_the_other_cluster_and_opens_it_to_its_own(mesh: Mesh) -> None:
    far = await web_url(mesh, "west")
    said: Object = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "under-test", "namespace": NAMESPACE},
        "spec": {"podSelector": WEB, "policyTypes": ["Ingress"]},
    }
    try:
        await mesh.lab.apply("west", said)
        await until(mesh, far, answered=False)
        await until(mesh, far, answered=False, cluster="west")
        client = {"podSelector": {"matchLabels": {"app": "client"}}, "namespaceSelector": {}}
        said["spec"]["ingress"] = [{"from": [client], "ports": [{"port": "http"}]}]
        await mesh.lab.apply("west", said)
        await until(mesh, far, answered=True, cluster="west")
        await until(mesh, far, answered=False)
        client["podSelector"]["matchExpressions"] = [ANY_CLUSTER]
        await mesh.lab.apply("west", said)
        await until(mesh, far, answered=True)
    finally:
        await mesh.lab.delete("west", "NetworkPolicy", "under-test")


async def test_monitor_names_the_packet_that_a_policy_dropped(mesh: Mesh) -> None:
    near, client = await web_url(mesh, "east"), await find_pod(mesh, "east", "client")
    web = (await find_pod(mesh, "east", "web"))["status"]["podIP"]
    socket = mesh.lab.paths.node(node_of(mesh, client)).agent_socket
    dbg = (sys.executable, "-m", "cli.dbg", "--host", str(socket))
    async with policy(mesh, "east", "client", egress=[{"toCIDR": ["203.0.113.0/24"]}]):
        await until(mesh, near, answered=False)
        monitor = await asyncio.create_subprocess_exec(
            *(*dbg, "monitor", "--type", "drop", "-o", "json"), stdout=asyncio.subprocess.PIPE
        )
        assert monitor.stdout is not None
        try:
            async with asyncio.timeout(CHANGE_SECONDS), mesh.lab.curling("east", mesh.clients["east"], near):
                while line := await monitor.stdout.readline():
                    event = msgspec.json.decode(line)
                    if event["destination"]["ip"] == web:
                        break
        finally:
            monitor.terminate()
            await monitor.wait()
        assert (event["reason"], event["direction"]) == ("policy denied", "egress")
        assert event["source"]["pod"] == f"{NAMESPACE}/{mesh.clients['east']}"
        assert event["destination"]["port"] == ECHO_PORT
        process = await asyncio.create_subprocess_exec(
            *(*dbg, "bpf", "policy", "get", str(event["endpoint"])), stdout=asyncio.subprocess.PIPE
        )
        shown, _ = await process.communicate()
        assert b"cidr:203.0.113.0/24" in shown
