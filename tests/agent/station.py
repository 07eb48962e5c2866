"""One node's Kubernetes side under test: what the agent's `serve` wires together, without a kernel.

The lab's API server, real tables and loop, maps in memory, interfaces that only remember.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from agent.agent import Agent
from agent.allocator import Allocator
from agent.datapath import Datapath
from agent.endpointrequest import Request
from agent.endpoints import load
from agent.ipam import AddressPool, Pools
from agent.k8s_sync import KubernetesSync
from agent.lifecycle import Lifecycle
from agent.local import LocalNode
from agent.podlookup import PodLookup
from agent.publisher import Publisher
from agent.tables import Tables
from aiokit.wait import eventually
from cli.crd import definitions
from k8s.client import Client
from k8s.resource import CRD, NAMESPACE, POD, Resource
from tests.agent.fakemap import FakeKernel
from tests.agent.values import NODE


class FakeInterfaces:
    """Satisfies `agent.lifecycle.Interfaces`; `log` has what was done."""

    def __init__(self) -> None:
        self.existing: dict[str, int] = {f"lxc{index}": 100 + index for index in range(1, 10)}
        self.attached: set[int] = set()
        self.routes: dict[str, int] = {}
        self.log: list[str] = []
        self.forgotten: list[str] = []

    def links(self) -> dict[str, int]:
        return dict(self.existing)

    def attach(self, ifindex: int) -> None:
        self.attached.add(ifindex)
        self.log.append("attach")

    def detach(self, ifindex: int) -> None:
        self.attached.discard(ifindex)

    def detach_stale(self) -> None:
        self.attached &= set(self.existing.values())

    def add_route(self, address: str, ifindex: int, mac: str) -> None:
        self.routes[address] = ifindex

    def remove_route(self, address: str, ifindex: int) -> None:
        self.routes.pop(address, None)

    def forget_connections(self, address: str) -> None:
        self.forgotten.append(address)


class Station:
    """Parts of one agent's life. Make another one over the same kernel and path for its next life."""

    def __init__(
        self,
        client: Client,
        path: Path,
        kernel: FakeKernel,
        interfaces: FakeInterfaces,
        node: LocalNode = NODE,
    ) -> None:
        self.client = client
        self.kernel = kernel
        self.interfaces = interfaces
        self.agent = Agent("east", NODE.name)
        self.tables = self.agent.tables = Tables(node)
        self.datapath = self.agent.datapath = Datapath(
            self.tables, kernel.maps(self.tables), health=self.agent.datapath_health
        )
        self.sync = self.agent.kubernetes = KubernetesSync(client, self.tables)
        self.publisher = Publisher(client, self.tables, self.sync.view)
        self.lifecycle = self.agent.lifecycle = Lifecycle(
            tables=self.tables,
            datapath=self.datapath,
            pools=Pools(AddressPool("10.1.1.0/24"), AddressPool("fd00:10:1:1::/64")),
            interfaces=interfaces,
            allocator=Allocator(client, node.cluster, self.tables.identities.own),
            pods=PodLookup(client, self.sync.view),
            view=self.sync.view,
            path=path,
            changed=self.publisher.wake,
        )
        self.lifecycle.load(load(path))
        self.tables.set_peer_listings(list)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        await self.lifecycle.reattach()
        async with asyncio.TaskGroup() as group:
            works = {
                "datapath": self.datapath.run(),
                "kubernetes": self.sync.run(),
                "publisher": self.publisher.run(),
                "labels": self.lifecycle.follow_labels(),
            }
            tasks = [group.create_task(work, name=name) for name, work in works.items()]
            await eventually(lambda: self.tables.own_is_listed)
            yield
            for task in tasks:
                task.cancel()

    async def add(self, index: int, name: str = "web") -> Request:
        """A pod with an address and an interface, as a plugin would describe it."""
        given = await self.lifecycle.allocate(f"shop/{name}-{index}")
        return Request(
            container_id=f"container-{index}",
            interface=f"lxc{index}",
            ifindex=100 + index,
            mac=f"02:00:00:00:00:{index:02x}",
            host_mac=f"02:00:00:00:01:{index:02x}",
            ipv4=given.ipv4,
            ipv6=given.ipv6,
            pod_name=f"{name}-{index}",
            namespace="shop",
        )


async def define(client: Client) -> None:
    """The kinds and the namespace that every test needs."""
    for definition in definitions():
        await client.create(CRD, definition)
    await client.create(NAMESPACE, {"metadata": {"name": "shop", "labels": {"team": "a"}}})


async def add_pods(client: Client, names: Iterable[str], **labels: str) -> None:
    for name in names:
        body: dict[str, Any] = {
            "metadata": {"name": name, "namespace": "shop", "labels": labels or {"app": name.split("-")[0]}},
            "spec": {"nodeName": NODE.name, "containers": [{"name": "main", "image": "x"}]},
        }
        await client.create(POD, body)


async def names(client: Client, resource: Resource, namespace: str = "") -> list[str]:
    listed = await client.list(resource, namespace)
    return sorted(msgspec.json.decode(raw)["metadata"]["name"] for raw in listed)
