"""The exporter's composition root: the only place where its concrete parts meet."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import TypeVar

from aiohttp import web
from prometheus_client.core import Metric

from aiokit import probes
from aiokit.backoff import Backoff
from aiokit.http import serve_tcp
from aiokit.signals import wait_terminated
from certs import expiry
from clustermesh_apiserver import exporters, health
from clustermesh_apiserver.config import Config, IdentityMode
from clustermesh_apiserver.exporter import Exporter
from clustermesh_apiserver.follow import Follow
from clustermesh_apiserver.identities import Identities
from clustermesh_apiserver.publisher import Publisher
from k8s import access
from k8s.client import Client
from k8s.client import connect as connect_kubernetes
from k8s.objects import KubeObject
from k8s.resource import Resource
from k8s.watch import ObjectDelta
from k8s.watch import follow as follow_objects
from kvstore.etcd import connect as connect_etcd

FINISH_SECONDS = 3.0  # for writes when we end; our successor's compare finds what is missing
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.2, 15.0

log = logging.getLogger(__name__)

T = TypeVar("T", bound=KubeObject)


async def serve(config: Config) -> None:
    """Export until the process is asked to end; then leave every key where it is."""
    async with connect_kubernetes(access.load_default(config.kubeconfig)) as kubernetes:
        numbers = _identities(config)
        running_exporters = exporters.build(
            config.cluster,
            follow(kubernetes),
            numbers=numbers,
            chosen_by=config.label_filter,
            default_global_namespace=config.default_global_namespace,
            endpoint_slices=config.endpoint_slices,
            mode=config.service_mode,
            mcs_api=config.mcs_api,
        )
        publisher = Publisher(
            lambda: connect_etcd(config.etcd),
            config.cluster,
            running_exporters,
            lease_ttl_seconds=config.lease_ttl_seconds,
            mode=config.service_mode,
            mcs_api=config.mcs_api,
            pace=config.pace,
        )
        async with (
            serving(publisher, config),
            running(publisher, running_exporters, numbers),
        ):
            await wait_terminated()
            log.info("ending; every key stays where it is")


@asynccontextmanager
async def serving(publisher: Publisher, config: Config) -> AsyncGenerator[None]:
    """Probes and metrics."""

    def collect() -> Iterator[Metric]:
        yield from health.metrics(publisher.report(), publisher.meter)
        yield from expiry.families(health.PREFIX, config.etcd.certificate_files, datetime.now(UTC))

    async def status(_: web.Request) -> web.Response:
        return web.json_response(health.as_object(publisher.report()))

    async with AsyncExitStack() as stack:
        app = probes.application(lambda: publisher.report().ready, collect)
        app.router.add_get("/v1/status", status)
        await stack.enter_async_context(serve_tcp(app, config.health_host, config.health_port))
        if config.metrics is not None:
            await stack.enter_async_context(serve_tcp(probes.metrics_application(collect), *config.metrics))
        yield


def follow(kubernetes: Client) -> Follow:
    """Streams of objects from this API server, each with a back-off of its own."""

    def open_stream(resource: Resource, type_: type[T], /) -> AsyncIterator[ObjectDelta[T]]:
        backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        return follow_objects(kubernetes, resource, type_, backoff=backoff)

    return open_stream


@asynccontextmanager
async def running(
    publisher: Publisher, exporters: list[Exporter], numbers: Identities | None = None
) -> AsyncGenerator[None]:
    """Export while the block runs; a bug in one ends the block.

    Leaving it hears of nothing new, gives what was heard a moment to be stored, and stops every task.
    """
    async with asyncio.TaskGroup() as group:
        publishing = group.create_task(publisher.run(), name="publisher")
        hearing = [
            group.create_task(exporter.run(), name=f"export/{exporter.kind.name}") for exporter in exporters
        ]
        allocating = group.create_task(numbers.run(), name="identities") if numbers else None
        yield
        for task in hearing:
            task.cancel()
        await publisher.wait_stored(FINISH_SECONDS)
        publishing.cancel()
        if allocating is not None:
            allocating.cancel()


def _identities(config: Config) -> Identities | None:
    """Who allocates, where Cilium does not. Replicas with an etcd of their own each allocate for it."""
    if config.identity_mode is not IdentityMode.KVSTORE:
        return None
    return Identities(
        lambda: connect_etcd(config.etcd),
        config.cluster,
        socket.gethostname(),
        lease_ttl_seconds=config.lease_ttl_seconds,
    )
