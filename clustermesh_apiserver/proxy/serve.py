"""The proxy's composition root: the only place where its parts meet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiokit.http import serve_tcp
from aiokit.signals import wait_terminated
from certs.profile import MESH_DOMAIN
from clustermesh_apiserver.proxy import health
from clustermesh_apiserver.proxy.certificate import Certificates
from clustermesh_apiserver.proxy.config import ProxyConfig, ProxyError
from clustermesh_apiserver.proxy.door import Door
from clustermesh_apiserver.proxy.gate import Gate
from clustermesh_apiserver.proxy.grpc_health import HealthService
from clustermesh_apiserver.proxy.hub import running_hub
from clustermesh_apiserver.proxy.metric import Metrics
from clustermesh_apiserver.proxy.server import Front, listening
from clustermesh_apiserver.proxy.session import Sessions
from clustermesh_apiserver.proxy.source import connect_source
from clustermesh_apiserver.proxy.upstream import connect
from clustermesh_apiserver.proxy.views import marked

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Running:
    """Where a running proxy can be reached."""

    port: int
    health_port: int


async def serve(config: ProxyConfig) -> None:
    """Run until SIGTERM or SIGINT. Raises ProxyError when it cannot start."""
    failure: Exception | None = None
    try:
        async with running(config):
            await wait_terminated()
    except* (ProxyError, OSError) as group:  # a port in use is the usual one
        failure = group.exceptions[0]
    if failure is not None:
        raise ProxyError(str(failure)) from failure


@asynccontextmanager
async def running(config: ProxyConfig) -> AsyncGenerator[Running]:
    """A proxy while the block runs. Waits (unready, but alive) until there are certificates."""
    metrics = Metrics()
    gate = Gate(
        config.auth_mode,
        has_users=config.users_path is not None,
        has_sight=config.sight_path is not None,
        metrics=metrics,
    )
    door = Door(gate, config.limits, metrics)
    sessions = Sessions(door.shut_out)
    gate.changed = sessions.review
    certificates = Certificates(config.cert_dir, metrics, gate.trust)
    async with (
        connect(config.upstream, metrics) as upstream,
        connect_source(config.upstream) as source,
        running_hub(source) as hub,
        asyncio.TaskGroup() as group,
        serve_tcp(
            health.application(upstream, certificates, metrics), config.health_host, config.health_port
        ) as health_port,
    ):
        metrics.observe(lambda: len(sessions), hub.totals)
        tasks = [
            group.create_task(certificates.follow(), name="proxy certificates"),
            group.create_task(upstream.probe(), name="proxy upstream probe"),
            group.create_task(sessions.sweep(), name="proxy sweep"),
            group.create_task(gate.views.settle(partial(marked, upstream)), name="proxy views"),
            *(group.create_task(follow, name="proxy access") for follow in _access_files(config, gate)),
        ]
        try:
            await certificates.loaded.wait()
            front = Front(
                config.cluster_name,
                upstream=upstream,
                hub=hub,
                door=door,
                sessions=sessions,
                health=HealthService(lambda: not health.hindrance(upstream, certificates)),
                metrics=metrics,
            )
            async with listening(front, config.listen, certificates.context, _advertise(config)) as port:
                log.info("proxy listens address=%s port=%d upstream=%s", config.listen, port, config.upstream)
                yield Running(port, health_port)
        finally:
            for task in tasks:
                task.cancel()


def _access_files(config: ProxyConfig, gate: Gate) -> Iterator[Coroutine[Any, Any, None]]:
    if config.users_path is not None:
        yield gate.follow_users(config.users_path)
    if config.revoked_path is not None:
        yield gate.follow_revoked(config.revoked_path)
    if config.sight_path is not None:
        yield gate.follow_sight(config.sight_path)


def _advertise(config: ProxyConfig) -> Callable[[int], str]:
    return lambda port: config.advertise or f"https://{config.cluster_name}.{MESH_DOMAIN}:{port}"
