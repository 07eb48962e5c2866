"""What the kernel has, and what becomes of a connection (/v1/map, /v1/verify, /v1/trace)."""

from __future__ import annotations

import asyncio

from aiohttp import web

from agent.apireply import AGENT, reply
from agent.errors import NotFoundError, NotReadyError, RequestError

MAX_NAME = 512  # a namespace and a pod have 317 characters


async def _maps(request: web.Request) -> web.Response:
    return reply({"maps": [{"name": name} for name in sorted(request.app[AGENT].dumps)]})


async def _map(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    dump = request.app[AGENT].dumps.get(name)
    if dump is None:
        raise NotFoundError(f"no map {name}")
    return reply({"name": name, "entries": await asyncio.to_thread(dump)})


async def _verify(request: web.Request) -> web.Response:
    """All maps and hooks against what is wanted of them (agent.verify)."""
    verifier = request.app[AGENT].verifier
    if verifier is None:
        raise NotReadyError("the agent is starting")
    return reply(await verifier.verify())


async def _trace(request: web.Request) -> web.Response:
    """The way of one new connection (agent.trace)."""
    tracer = request.app[AGENT].tracer
    if tracer is None:
        raise NotReadyError("the agent is starting")
    source, destination = request.query.get("source", ""), request.query.get("destination", "")
    port = request.query.get("port", "")
    if not source or not destination or max(len(source), len(destination)) > MAX_NAME:
        raise RequestError("a source and a destination are needed")
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536 and len(port) < 6):
        raise RequestError("the port must be a number from 1 to 65535")
    try:
        return reply(await tracer.trace(source, destination, int(port), request.query.get("protocol", "TCP")))
    except ValueError as error:
        raise RequestError(str(error)) from error


ROUTES = [
    web.get("/v1/map", _maps),
    web.get("/v1/map/{name}", _map),
    web.get("/v1/verify", _verify),
    web.get("/v1/trace", _trace),
]
