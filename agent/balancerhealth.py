"""What a load balancer is told by a node: has a service endpoints here?

For Services of type LoadBalancer whose policy for clients outside is Local: a node without own endpoints
drops their clients, so the balancer must not send them. Each such Service has a port of its own
(`healthCheckNodePort`), at every address of the node. Answers are those of kube-proxy and Cilium: 200,
or 503 without an endpoint, and a JSON object that counts them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack

from aiohttp import web

from agent.services import Services
from aiokit.backoff import Backoff
from aiokit.http import serve_tcp
from mesh.localservice import LocalBackend, LocalService

log = logging.getLogger(__name__)

EVERYWHERE, EVERYWHERE6 = "0.0.0.0", "::"
GATHER_SECONDS = 0.1  # between looks at the services: they may change hundreds of times a second
RETRY_FIRST, RETRY_CAP = 0.2, 30.0
RESYNC_SECONDS = 300.0
MAX_BODY = 1024
WEIGHT = "X-Load-Balancing-Endpoint-Weight"


def ports(services: Mapping[str, LocalService]) -> dict[int, str]:
    """Port -> the service ("namespace/name") whose endpoints it tells of."""
    return {each.health_port: key for key, each in sorted(services.items()) if each.health_port}


def everywhere(*, dual_stack: bool) -> tuple[str, ...]:
    """Where to listen on a node whose pods have addresses of both families, or not."""
    return (EVERYWHERE, EVERYWHERE6) if dual_stack else (EVERYWHERE,)


def count(backends: tuple[LocalBackend, ...], node: str) -> int:
    """Endpoints on this node that take new connections; a pod of two families is one."""
    ours = [each for each in backends if each.node == node and each.state == "active"]
    by_family = [sum(":" in each.ip for each in ours), sum(":" not in each.ip for each in ours)]
    return max(by_family)


class BalancerHealth:
    """Owns the listeners; `run` is its task."""

    def __init__(self, services: Services, node: str, *hosts: str) -> None:
        """`hosts`: the addresses to listen at."""
        self._services = services
        self._node = node
        self._hosts = hosts
        self._open: dict[int, tuple[str, AsyncExitStack]] = {}
        self._problems: dict[int, str] = {}

    @property
    def problems(self) -> Mapping[int, str]:
        """Ports that cannot be opened, and why in words; none that has been opened since."""
        return dict(self._problems)

    async def run(self) -> None:
        backoff = Backoff(RETRY_FIRST, RETRY_CAP)
        clock = self._services.health_ports
        try:
            while True:
                revision = clock.revision
                await self._round(ports(self._services.here))
                if not self._problems:
                    backoff.reset()
                await asyncio.sleep(GATHER_SECONDS)
                try:
                    async with asyncio.timeout(backoff.next() if self._problems else RESYNC_SECONDS):
                        await clock.wait_newer(revision)
                except TimeoutError:
                    continue
        finally:
            await self._round({})

    async def _round(self, wanted: Mapping[int, str]) -> None:
        for port, (key, opened) in list(self._open.items()):
            if wanted.get(port) != key:
                del self._open[port]
                await opened.aclose()
        before, self._problems = self._problems, {}
        for port, key in wanted.items():
            if port not in self._open:
                await self._listen(port, key, before.get(port, ""))

    async def _listen(self, port: int, key: str, problem: str) -> None:
        opened = AsyncExitStack()
        try:
            for host in self._hosts:
                await opened.enter_async_context(serve_tcp(self._application(key), host, port))
        except OSError as error:
            await opened.aclose()
            text = f"the health of {key} cannot be told at port {port}: {error}"
            self._problems[port] = text
            if text != problem:
                log.error("%s", text)
        else:
            self._open[port] = (key, opened)

    def _application(self, key: str) -> web.Application:
        async def tell(_: web.Request) -> web.Response:
            return answer(key, count(self._services.local_backends(key), self._node))

        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_get("/{path:.*}", tell)
        return app


def answer(key: str, endpoints: int) -> web.Response:
    namespace, _, name = key.partition("/")
    told = {"service": {"namespace": namespace, "name": name}, "localEndpoints": endpoints}
    return web.json_response(
        told | {"serviceProxyHealthy": True},
        status=200 if endpoints else 503,
        headers={WEIGHT: str(endpoints), "X-Content-Type-Options": "nosniff"},
    )
