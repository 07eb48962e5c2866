"""The agent's REST API (spec 8.1): everything on the unix socket, and a read-only part for probes on TCP.

Whoever may open the socket may change endpoints: its file mode is the only guard. Errors are JSON
objects with a `message`; 503 means "not yet, ask again".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from agent import endpointapi, ipamapi, kernelapi, metrics, monitorapi, tableapi
from agent.agent import Agent
from agent.apireply import AGENT, reply
from agent.errors import AgentError, ExhaustedError, NotFoundError, NotReadyError, RequestError
from aiokit.probes import registry
from bpf.errors import BPFError
from bpf.spec import METRICS
from k8s.errors import KubernetesError
from kvstore.metric import traffic

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REGISTRY: web.AppKey[CollectorRegistry] = web.AppKey("registry", CollectorRegistry)
MAX_BODY = 64 * 1024  # an endpoint's description is a few hundred bytes


def probes(agent: Agent) -> web.Application:
    """What may be read from the network."""
    app = web.Application(client_max_size=MAX_BODY)
    app[AGENT] = agent
    app[REGISTRY] = registry(lambda: traffic(metrics.PREFIX, agent.meter))
    app.add_routes(
        [
            web.get("/healthz", _ready),
            web.get("/v1/healthz", _healthz),
            web.get("/v1/global-service", _global_services),
            web.get("/metrics", _metrics),
        ]
    )
    return app


def application(agent: Agent) -> web.Application:
    """All of it."""
    app = probes(agent)
    app.middlewares.append(_errors)
    for part in (endpointapi, ipamapi, kernelapi, monitorapi, tableapi):
        app.add_routes(part.ROUTES)
    return app


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except NotFoundError as error:
        return _problem(404, error)
    except (RequestError, msgspec.ValidationError, msgspec.DecodeError) as error:
        return _problem(400, error)
    except (NotReadyError, ExhaustedError, KubernetesError, TimeoutError) as error:
        return _problem(503, error)
    except (AgentError, BPFError) as error:
        log.error("%s %s failed: %s", request.method, request.path, error)
        return _problem(500, error)


def _problem(code: int, error: Exception) -> web.Response:
    return reply({"message": str(error) or type(error).__name__}, code)


async def _ready(request: web.Request) -> web.Response:
    agent = request.app[AGENT]
    return reply(agent.healthz()["cilium"], 200 if agent.is_ready() else 503)


async def _healthz(request: web.Request) -> web.Response:
    return reply(request.app[AGENT].healthz())


async def _metrics(request: web.Request) -> web.Response:
    agent = request.app[AGENT]
    counted = await asyncio.to_thread(agent.dumps.get(METRICS.name, list))
    own = metrics.text(agent.metrics() | metrics.packets(counted))
    return web.Response(text=own + generate_latest(request.app[REGISTRY]).decode())


async def _global_services(request: web.Request) -> web.Response:
    """Our own: which clusters serve, in numbers. `name` is "namespace/name" of one service."""
    return reply(request.app[AGENT].global_services(request.query.get("name", "")))
