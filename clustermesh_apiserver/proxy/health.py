"""Liveness, readiness and metrics of the proxy over plain HTTP, on a port of their own."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from clustermesh_apiserver.proxy.certificate import Certificates
from clustermesh_apiserver.proxy.metric import Metrics
from clustermesh_apiserver.proxy.upstream import Upstream


def hindrance(upstream: Upstream, certificates: Certificates) -> str:
    """Why clients cannot be served; empty when they can."""
    status = upstream.health.status()
    why = f"{status.text} ({status.error})" if status.error else status.text
    etcd = "" if status.level == "ok" else why
    return certificates.hindrance or etcd


def application(upstream: Upstream, certificates: Certificates, metrics: Metrics) -> web.Application:
    """/healthz: the process works. /readyz: clients can be served. /metrics: Prometheus."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_request: web.Request) -> web.Response:
        if reason := hindrance(upstream, certificates):
            return web.Response(status=500, text=f"NotReady: {reason}")
        return web.Response(text="Ready")

    async def metrics_page(_request: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=generate_latest(metrics.registry), headers=headers)

    app = web.Application()
    app.add_routes(
        [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics_page)]
    )
    return app
