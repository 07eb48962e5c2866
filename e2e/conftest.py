"""One connected lab for all end-to-end tests: real etcd, real kernel maps, real TLS, real packets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import msgspec
import pytest

from e2e.labname import of_checkout
from k8s.resource import POD
from lab.demo.driver import Driver
from lab.demo.objects import NAMESPACE, SLEEP_IMAGE, deployment, service
from lab.plan import LabPlan, NodePlan, make

LAB = of_checkout("e2e")
CLUSTERS = ["east", "west"]


@dataclass(frozen=True)
class Mesh:
    """East and west, connected, with the global service `web` (two pods each) and a client in each."""

    lab: Driver
    plan: LabPlan
    clients: dict[str, str]  # cluster -> the client pod's name
    url: str  # web's address in east

    async def node_of_client(self, cluster: str) -> NodePlan:
        async with self.lab.kubernetes(cluster) as client:
            pod = msgspec.json.decode(await client.get(POD, self.clients[cluster], NAMESPACE) or b"{}")
        return self.plan.cluster(cluster).node(pod["spec"]["nodeName"])

    async def spread(self) -> None:
        """One web pod on each node: what other tests scaled may have left two on one."""
        for cluster in CLUSTERS:
            for count in (0, 2):
                await self.lab.scale(cluster, "web", count)
                await self.lab.wait_pods(cluster, "web", count)

    async def restored(self) -> None:
        """What every test may rely on and must leave: two ready web pods in each cluster."""
        for cluster in CLUSTERS:
            await self.lab.scale(cluster, "web", 2)
            await self.lab.wait_pods(cluster, "web", 2)


async def _prepare(lab: Driver) -> Mesh:
    async with asyncio.TaskGroup() as group:
        for cluster in CLUSTERS:
            enable = lab.command("enable", "--context", cluster, "--enable-mcs-api", "true", "--wait")
            group.create_task(enable, name=f"enable {cluster}")
    await lab.command("connect", "--context", "east", "--destination-context", "west")
    clients = {}
    for cluster in CLUSTERS:
        client = deployment("client", replicas=1, image=SLEEP_IMAGE)
        await lab.apply(cluster, deployment("web", replicas=2), service("web"), client)
    for cluster in CLUSTERS:
        clients[cluster] = (await lab.wait_pods(cluster, "client", 1))[0]
        await lab.wait_pods(cluster, "web", 2)
        await lab.command("status", "--context", cluster, "--wait", "--wait-duration", "60s")
    return Mesh(lab, make(LAB, CLUSTERS, 2), clients, f"http://{await lab.cluster_ip('east', 'web')}/")


@pytest.fixture(scope="session")
def connected() -> Iterator[Mesh]:
    lab = Driver(LAB)
    try:
        asyncio.run(lab.command("lab", "--name", LAB, "up", "--nodes", "2"))
        yield asyncio.run(_prepare(lab))
    finally:
        asyncio.run(lab.command("lab", "--name", LAB, "down"))


@pytest.fixture
async def mesh(connected: Mesh) -> AsyncIterator[Mesh]:
    yield connected
    await connected.restored()
