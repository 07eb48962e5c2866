"""What the programs of the data path see, as it happens (/v1/monitor)."""

from __future__ import annotations

import asyncio
import time

import msgspec
from aiohttp import web

from agent.apireply import AGENT
from agent.errors import NotReadyError, RequestError
from agent.flows import describe
from agent.monitor import Watcher
from agent.tables import Tables

MAX_EVERY = 1_000_000
HEARTBEAT_SECONDS = 2.0  # a watcher that left is noticed by writing to it


async def _monitor(request: web.Request) -> web.StreamResponse:
    """A JSON object a line for as long as the client stays; an empty line now and then shows that it does."""
    agent = request.app[AGENT]
    monitor, tables = agent.monitor, agent.tables
    if monitor is None or tables is None:
        raise NotReadyError("the agent is starting")
    kinds = request.query.getall("type", ["drop", "trace"])
    if not set(kinds) <= {"drop", "trace"}:
        raise RequestError("a type is drop or trace")
    every = request.query.get("every", "1")
    if not (every.isascii() and every.isdecimal() and 0 < int(every) <= MAX_EVERY):
        raise RequestError(f"every must be a number from 1 to {MAX_EVERY}")
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    trace_every = int(every) if "trace" in kinds else 0
    with monitor.watching(drops="drop" in kinds, trace_every=trace_every) as watcher:
        await response.prepare(request)
        try:
            while True:
                await response.write(await _next_line(watcher, tables))
        except ConnectionError:
            return response


async def _next_line(watcher: Watcher, tables: Tables) -> bytes:
    try:
        async with asyncio.timeout(HEARTBEAT_SECONDS):
            event = await watcher.events.get()
    except TimeoutError:
        return b"\n"
    lost, watcher.lost = watcher.lost, 0
    boot = time.time() - time.monotonic()  # anew for each: the clock may be set while somebody watches
    said = describe(event, tables, boot) | ({"lost": lost} if lost else {})
    return msgspec.json.encode(said) + b"\n"


ROUTES = [web.get("/v1/monitor", _monitor)]
