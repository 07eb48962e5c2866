"""Whole clusters without a data plane: an API server, an exporter, a mesh etcd in memory, an operator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from aiokit.wait import eventually
from cli.crd import CRD, definitions
from clustermesh_apiserver import exporters
from clustermesh_apiserver.publisher import Publisher
from clustermesh_apiserver.serve import follow, running
from clustermesh_operator.operator import Operator
from clustermesh_operator.snapshot import Settings
from k8s.client import Client
from k8s.resource import ENDPOINTSLICE, NAMESPACE, SERVICE, SERVICEEXPORT, SERVICEIMPORT, Resource
from kvstore.backend import Readable
from kvstore.config import EtcdConfig
from kvstore.memory import MemoryBackend
from mesh.addressing import ClusterID, ClusterName, IdentityLayout, PeerScope
from mesh.mcs import derived_name
from tests.agent.peering import PATIENT
from tests.k8s.apiserver import lab_api

Body = dict[str, Any]

PATIENCE_SECONDS = 20.0
NAMES = ("alpha", "beta")  # equally old exports are ordered by these: the first is the oldest


class Cluster:
    """`store` is what other clusters read; `directory` has a file for each of them."""

    def __init__(self, name: str, number: int, client: Client, directory: Path) -> None:
        self.name = name
        self.scope = PeerScope(ClusterName(name), ClusterID(number), IdentityLayout())
        self.client = client
        self.directory = directory
        self.store = MemoryBackend()
        self.operator: Operator

    # the objects, as a test wants them

    async def namespace(self, name: str = "shop", is_global: str | None = None) -> None:
        annotations = {} if is_global is None else {"clustermesh.cilium.io/global": is_global}
        await self.client.apply(NAMESPACE, {"metadata": {"name": name, "annotations": annotations}})

    async def service(self, name: str = "hello", **spec: Any) -> None:
        """With a port whose pods listen elsewhere."""
        port = {"name": "tcp", "port": 42, "protocol": "TCP", "targetPort": 4242}
        metadata = {
            "name": name,
            "namespace": "shop",
            "annotations": {"private": "x"},
            "labels": {"private": "y"},
        }
        await self.client.create(SERVICE, {"metadata": metadata, "spec": {"ports": [port], **spec}})

    async def slice(self, *endpoints: Body, ports: list[Body] | None = None) -> None:
        labels = {
            "kubernetes.io/service-name": "hello",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }
        body = {
            "metadata": {"name": "hello-1", "namespace": "shop", "labels": labels},
            "addressType": "IPv4",
            "endpoints": list(endpoints),
            "ports": ports or [{"name": "tcp", "port": 4242, "protocol": "TCP"}],
        }
        await self.client.apply(ENDPOINTSLICE, body)

    async def export(self, name: str = "hello", **spec: Any) -> None:
        body = {"metadata": {"name": name, "namespace": "shop"}, **({"spec": spec} if spec else {})}
        await self.client.create(SERVICEEXPORT, body)

    async def unexport(self) -> None:
        assert await self.client.delete(SERVICEEXPORT, "hello", "shop")

    # what came of them

    async def object(self, resource: Resource, name: str) -> Body | None:
        found = await self.client.get(resource, name, "shop")
        return msgspec.json.decode(found) if found else None

    async def imported(self, fits: Callable[[Body], Any] = lambda _: True) -> Body:
        """The ServiceImport, once it is as wanted."""
        return await self.eventually(SERVICEIMPORT, "hello", fits)

    async def derived(self, fits: Callable[[Body], Any] = lambda _: True) -> Body:
        return await self.eventually(SERVICE, derived_name("shop", "hello"), fits)

    async def condition(self, type_: str, status: str, reason: str) -> Body:
        """The ServiceExport's, once it is as wanted."""

        def fits(body: Body) -> bool:
            found = conditions(body).get(type_, {})
            return (found.get("status"), found.get("reason")) == (status, reason)

        return conditions(await self.eventually(SERVICEEXPORT, "hello", fits))[type_]

    async def eventually(self, resource: Resource, name: str, fits: Callable[[Body], Any]) -> Body:
        last: Body | None = None

        async def is_so() -> bool:
            nonlocal last
            last = await self.object(resource, name)
            return last is not None and bool(fits(last))

        try:
            await eventually(is_so, PATIENCE_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{resource.kind} {name} in {self.name}: {last}") from None
        assert last is not None
        return last

    async def gone(self, resource: Resource, name: str) -> None:
        async def is_gone() -> bool:
            return await self.object(resource, name) is None

        await eventually(is_gone, PATIENCE_SECONDS)

    async def mirrors(self, count: int = 1) -> list[Body]:
        """The derived Service's slices, once there are as many as wanted."""
        found: list[Body] = []

        async def are_there() -> bool:
            selector = f"kubernetes.io/service-name={derived_name('shop', 'hello')}"
            listed = await self.client.list(ENDPOINTSLICE, "shop", label_selector=selector)
            found[:] = [msgspec.json.decode(item) for item in listed]
            return len(found) == count

        await eventually(are_there, PATIENCE_SECONDS)
        return found

    @asynccontextmanager
    async def operating(
        self, connect: Any, ip_families: tuple[str, ...] = ("IPv4",), *, endpoint_sync: bool = False
    ) -> AsyncIterator[None]:
        self.operator = Operator(
            self.client,
            self.scope,
            Settings(self.name, ip_families, endpoint_sync=endpoint_sync),
            directory=self.directory,
            connector=lambda _: connect,
            times=PATIENT,
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.operator.run(), name=f"operator of {self.name}")
            yield
            task.cancel()

    @asynccontextmanager
    async def exporting(self) -> AsyncIterator[None]:
        @asynccontextmanager
        async def connect() -> AsyncIterator[MemoryBackend]:
            yield self.store.another_client()

        built = exporters.build(self.scope, follow(self.client), default_global_namespace=True, mcs_api=True)
        publisher = Publisher(connect, self.scope, built, lease_ttl_seconds=900, mcs_api=True)
        async with running(publisher, built):
            yield


async def told(first: Cluster, *others: Cluster) -> None:
    """Until all have heard and done what came after everything else that `first` was told."""
    await first.service("last")
    await first.export("last")
    for cluster in (first, *others):
        await cluster.eventually(SERVICEIMPORT, "last", is_ready)


def is_ready(body: Body) -> bool:
    return conditions(body).get("Ready", {}).get("status") == "True"


def conditions(body: Body) -> dict[str, Body]:
    return {each["type"]: each for each in body.get("status", {}).get("conditions", [])}


class Mesh:
    """Two clusters. `away` are names of those whose etcd cannot be reached."""

    def __init__(self, clusters: list[Cluster]) -> None:
        self.clusters = clusters
        self.away: set[str] = set()

    @asynccontextmanager
    async def connect(self, config: EtcdConfig) -> AsyncIterator[Readable]:
        name = config.endpoints[0].removeprefix("http://").partition(":")[0]
        if name in self.away:
            raise OSError(f"{name} is away")
        yield next(c for c in self.clusters if c.name == name).store.another_client()


@asynccontextmanager
async def two_clusters(directory: Path) -> AsyncIterator[Mesh]:
    """Connected, with a namespace `shop` in both; exporters run, operators do not yet."""
    async with AsyncExitStack() as stack:
        clusters = []
        for number, name in enumerate(NAMES, 1):
            api = await stack.enter_async_context(lab_api(MemoryBackend()))
            (directory / name).mkdir()
            cluster = Cluster(name, number, api.client, directory / name)
            for body in definitions(mcs_api=True):
                await cluster.client.apply(CRD, body)
            await cluster.namespace()
            await stack.enter_async_context(cluster.exporting())
            for other in NAMES:
                if other != name:
                    (directory / name / other).write_text(f"endpoints: [http://{other}:2379]\n")
            clusters.append(cluster)
        yield Mesh(clusters)
