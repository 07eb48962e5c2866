"""GET /v1/cluster: what is read of every peer. Read-only; names, counts and states, no secrets (spec 3.8)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from aiohttp import web

from aiokit.probes import Collect
from aiokit.probes import application as probes_application
from clustermesh_apiserver.kvstoremesh.report import Report, clusters


def application(report: Callable[[], Report]) -> web.Application:
    """For the pod's own loopback."""
    app = web.Application()
    app.add_routes([_route(report)])
    return app


def probes(report: Callable[[], Report], collect: Collect) -> web.Application:
    """For the kubelet and Prometheus, and for `clustermesh status`, which comes through the API server."""
    app = probes_application(lambda: report().ready, collect)
    app.add_routes([_route(report)])
    return app


def _route(report: Callable[[], Report]) -> web.RouteDef:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(clusters(report())), content_type="application/json")

    return web.get("/v1/cluster", answer)
