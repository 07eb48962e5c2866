"""An agent that only does what a CNI plugin asks of it, and can be told to refuse or stall."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from aiokit.http import serve_unix


class FakeAgent:
    """Hands out addresses and remembers endpoints; can refuse on purpose."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.refuses_endpoints = False
        self.stalls_endpoints = asyncio.Event()
        self.releases: list[str] = []
        self._next = 2

    @asynccontextmanager
    async def serving(self, path: Path) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/v1/ipam", self._allocate)
        app.router.add_delete("/v1/ipam/{ip}", self._release)
        app.router.add_put("/v1/endpoint/{id}", self._add)
        app.router.add_delete("/v1/endpoint/{id}", self._remove)
        async with serve_unix(app, path):
            yield

    async def _allocate(self, request: web.Request) -> web.Response:
        ip, ip6 = f"10.1.1.{self._next}", f"fd00:10:1:1::{self._next:x}"
        self._next += 1
        self.addresses |= dict.fromkeys((ip, ip6), request.query["owner"])
        families = {
            "ipv4": {"ip": ip, "gateway": "10.1.1.1"},
            "ipv6": {"ip": ip6, "gateway": "fe80::1"},
        }
        return web.json_response({"address": {"ipv4": ip, "ipv6": ip6}, **families}, status=201)

    async def _release(self, request: web.Request) -> web.Response:
        self.releases.append(request.match_info["ip"])
        await asyncio.sleep(0)  # lets others in, as a real agent's work does
        known = self.addresses.pop(request.match_info["ip"], None)
        return web.Response(status=200 if known else 404)

    async def _add(self, request: web.Request) -> web.Response:
        if self.refuses_endpoints:
            return web.Response(status=500, text="map full")
        if self.stalls_endpoints.is_set():
            await asyncio.sleep(60)
        self.endpoints[request.match_info["id"]] = await request.json()
        return web.Response(status=201)

    async def _remove(self, request: web.Request) -> web.Response:
        known = self.endpoints.pop(request.match_info["id"], None)
        return web.Response(status=200 if known else 404)
