"""GET /v1/cluster: what is read of every peer. Read-only; names, counts and states, no secrets (spec 3.8)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from aiohttp import web

from clustermesh_apiserver.kvstoremesh.report import Report, clusters


def route(report: Callable[[], Report]) -> web.RouteDef:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(clusters(report())), content_type="application/json")

    return web.get("/v1/cluster", answer)


def application(report: Callable[[], Report]) -> web.Application:
    """For the pod's own loopback."""
    app = web.Application()
    app.add_routes([route(report)])
    return app


def probes(report: Callable[[], Report]) -> web.Application:
    """For the kubelet, and for `clustermesh status`, which comes through the API server's proxy."""

    async def readyz(_: web.Request) -> web.Response:
        ready = report().ready
        return web.Response(status=200 if ready else 500, text="Ready" if ready else "NotReady")

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.add_routes([web.get("/readyz", readyz), web.get("/healthz", healthz), route(report)])
    return app
