"""A node's own processes and pods with hostNetwork are clients of the mesh as pods are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from e2e.conftest import Mesh
from e2e.knocking import Target
from e2e.nodeports import until_from
from e2e.outside import knock_from, outside
from k8s.resource import POD
from lab.demo.objects import ECHO_PORT, NAMESPACE, SLEEP_IMAGE, Object, deployment, service

CLIENT, SERVER = "host-client", "host-web"
NODE_PORT, TIMES = 30_081, 5
EVERYBODY = {("east", "node-1"), ("east", "node-2"), ("west", "node-1"), ("west", "node-2")}


def on_node_1(made: Object) -> Object:
    made["spec"]["template"]["spec"] |= {
        "hostNetwork": True,
        "nodeSelector": {"kubernetes.io/hostname": "node-1"},
    }
    return made


def node_port_of_server() -> Object:
    body = service(SERVER)
    ports = [
        {"name": name, "port": 80, "targetPort": ECHO_PORT, "protocol": name.upper(), "nodePort": NODE_PORT}
        for name in ("tcp", "udp")
    ]
    return body | {"spec": body["spec"] | {"type": "NodePort", "ports": ports}}


@pytest.fixture
async def client(mesh: Mesh) -> AsyncIterator[str]:
    """A pod of east's node-1 in its node's own network; web's pods are on every node."""
    await mesh.spread()
    await mesh.lab.apply("east", on_node_1(deployment(CLIENT, replicas=1, image=SLEEP_IMAGE)))
    try:
        yield (await mesh.lab.wait_pods("east", CLIENT, 1))[0]
    finally:
        await mesh.lab.delete("east", "Deployment", CLIENT)


async def places(mesh: Mesh) -> dict[str, tuple[str, str, list[str]]]:
    """Web's pods: "cluster/pod" -> cluster, node, addresses of both families."""
    found = {}
    for cluster in ("east", "west"):
        async with mesh.lab.kubernetes(cluster) as api:
            for raw in await api.list(POD, NAMESPACE, label_selector="app=web"):
                pod = json.loads(raw)
                addresses = [each["ip"] for each in pod["status"]["podIPs"]]
                place = (cluster, pod["spec"]["nodeName"], addresses)
                found[f"{cluster}/{pod['metadata']['name']}"] = place
    return found


async def test_a_global_service_is_answered_by_every_node_of_every_cluster(mesh: Mesh, client: str) -> None:
    where = await places(mesh)
    answered = set()
    async with mesh.lab.curling("east", client, mesh.url) as answers:
        async for answer in answers:
            assert answer.served_by
            answered.add(answer.served_by)
            if answered == where.keys():
                break
    assert {(cluster, node) for cluster, node, _ in where.values()} == EVERYBODY


async def test_pods_are_reached_by_their_addresses_too(mesh: Mesh, client: str) -> None:
    for pod, (_, _, addresses) in (await places(mesh)).items():
        for host in (addresses[0], f"[{addresses[1]}]"):
            answer = await mesh.lab.curl("east", client, f"http://{host}:{ECHO_PORT}/")
            assert answer.served_by == pod


async def test_a_server_there_answers_clients_outside_at_every_node_s_port(mesh: Mesh) -> None:
    """At its own node its answers are turned back as they leave, from 8080 to the node port."""
    await mesh.lab.apply("east", on_node_1(deployment(SERVER, replicas=1)), node_port_of_server())
    nodes = mesh.plan.cluster("east").nodes[1:]
    try:
        await mesh.lab.wait_pods("east", SERVER, 1)
        with outside(mesh.plan) as client:
            for protocol in ("TCP", "UDP"):
                asked = [Target(str(node.ip), NODE_PORT, protocol, TIMES) for node in nodes]
                await until_from(lambda asked=asked: knock_from(client, asked), {"east"})
    finally:
        for kind in ("Service", "Deployment"):
            await mesh.lab.delete("east", kind, SERVER)
