"""Runs the controllers: objects in, writes out, until there is nothing left to write.

Level-triggered: after every change all controllers look at everything. The lab's clusters are small, and
a missed event then cannot hurt. The decisions are in the `control_*` files, pure.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any

from aiokit.backoff import Backoff
from k8s.client import Client
from k8s.core import Namespace, Node, Service
from k8s.discovery import EndpointSlice
from k8s.errors import ConflictError, KubernetesError, NotFoundError
from k8s.objects import KubeObject
from k8s.resource import (
    CRONJOB,
    DAEMONSET,
    DEPLOYMENT,
    ENDPOINTSLICE,
    JOB,
    NAMESPACE,
    NODE,
    POD,
    SERVICE,
    SERVICEACCOUNT,
    Resource,
)
from k8s.watch import follow
from lab.control import accounts as control_accounts
from lab.control import balancer as control_balancer
from lab.control import jobs as control_jobs
from lab.control import scheduler as control_scheduler
from lab.control import slices as control_slices
from lab.control import workloads as control_workloads
from lab.control.collection import Collection
from lab.control.world import Create, Delete, World, Write
from lab.manifest import CronJob, Job, Pod, Workload

SETTLE_SECONDS = 0.005  # changes come in groups: looking once after each group is enough
RESYNC_SECONDS = 30.0

Controller = Callable[[World], list[Write]]
CONTROLLERS: tuple[Controller, ...] = (
    control_accounts.control,
    control_workloads.control,
    control_jobs.control,
    control_scheduler.control,
    control_slices.control,
    control_balancer.control,
)
log = logging.getLogger(__name__)


class Controllers:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._changed = asyncio.Event()
        self._pods = Collection(Pod)
        self._nodes = Collection(Node)
        self._namespaces = Collection(Namespace)
        self._services = Collection(Service)
        self._slices = Collection(EndpointSlice)
        self._accounts = Collection(KubeObject)
        self._deployments = Collection(Workload)
        self._daemonsets = Collection(Workload)
        self._jobs = Collection(Job)
        self._cronjobs = Collection(CronJob)
        self._by_resource: dict[Resource, Collection[Any]] = {
            POD: self._pods,
            NODE: self._nodes,
            NAMESPACE: self._namespaces,
            SERVICE: self._services,
            ENDPOINTSLICE: self._slices,
            SERVICEACCOUNT: self._accounts,
            DEPLOYMENT: self._deployments,
            DAEMONSET: self._daemonsets,
            JOB: self._jobs,
            CRONJOB: self._cronjobs,
        }

    async def run(self) -> None:
        """Until cancelled. Errors of the API are retried; bugs propagate."""
        async with asyncio.TaskGroup() as group:
            for resource, collection in self._by_resource.items():
                group.create_task(self._follow(resource, collection), name=f"follow {resource.plural}")
            group.create_task(self._reconcile(), name="reconcile")

    async def _follow(self, resource: Resource, collection: Collection[Any]) -> None:
        deltas = follow(self._client, resource, collection.kind, backoff=Backoff(0.1, 5))
        async with aclosing(deltas):
            async for delta in deltas:
                collection.change(delta)
                self._changed.set()

    async def _reconcile(self) -> None:
        backoff = Backoff(0.1, 5)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RESYNC_SECONDS):
                    await self._changed.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._changed.clear()
            if not all(collection.is_complete for collection in self._by_resource.values()):
                continue
            if await self._round():
                backoff.reset()
            else:
                await asyncio.sleep(backoff.next())
                self._changed.set()

    async def _round(self) -> bool:
        """Let each controller look once; whether all that they asked for was written."""
        good = True
        for controller in CONTROLLERS:
            for write in controller(self._world()):
                try:
                    await self._perform(write)
                except (ConflictError, NotFoundError) as error:
                    log.debug("overtaken: %s", error)  # the watch will tell what happened
                except KubernetesError as error:
                    log.warning("not written: %s", error)
                    good = False
        return good

    async def _perform(self, write: Write) -> None:
        client = self._client
        match write:
            case Create(resource, body):
                self._by_resource[resource].answered(await client.create(resource, body))
            case Delete(resource, namespace, name):
                await client.delete(resource, name, namespace)
            case _:
                answer = await client.merge_patch(
                    write.resource, write.name, write.patch, write.namespace, write.subresource
                )
                self._by_resource[write.resource].answered(answer)

    def _world(self) -> World:
        return World(
            self._pods.view(),
            self._nodes.view(),
            self._namespaces.view(),
            self._services.view(),
            self._slices.view(),
            self._accounts.view(),
            self._deployments.view(),
            self._daemonsets.view(),
            self._jobs.view(),
            self._cronjobs.view(),
            datetime.now(UTC),
        )
