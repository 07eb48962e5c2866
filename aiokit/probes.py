"""What a program answers to the kubelet and to Prometheus: alive, ready, metrics. Read-only, plain HTTP.

`/readyz` answers as Cilium's does (spec 4.4): 200 `Ready` or 500 `NotReady`. Metrics are collected when they
are scraped, from what the program holds anyway, and followed by those of the process itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Collect = Callable[[], Iterable[Metric]]


def application(is_ready: Callable[[], bool], collect: Collect) -> web.Application:
    """`/readyz`, `/healthz` and `/metrics`."""

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="Ready") if is_ready() else web.Response(status=500, text="NotReady")

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = metrics_application(collect)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/healthz", healthz)
    return app


def metrics_application(collect: Collect) -> web.Application:
    """Only `/metrics`, for a port of its own."""
    found = registry(collect)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(found), headers={"Content-Type": METRICS_TYPE})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    return app


def registry(collect: Collect) -> CollectorRegistry:
    """What `collect` gives, and the metrics of this process."""
    made = CollectorRegistry()
    made.register(_Collector(collect))
    ProcessCollector(registry=made)
    return made


class _Collector:
    """Satisfies prometheus_client's Collector."""

    def __init__(self, collect: Collect) -> None:
        self._collect = collect

    def describe(self) -> Iterable[Metric]:
        return ()  # else registering would collect before there is anything

    def collect(self) -> Iterable[Metric]:
        return self._collect()
