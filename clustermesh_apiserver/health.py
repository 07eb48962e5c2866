"""What the outside may ask the exporter: ready, alive, metrics. Read-only, plain HTTP for the kubelet.

`/readyz` answers as Cilium's does (spec 4.4). Metric names are Cilium's where it has one (spec 4.8);
they are computed from statuses when they are scraped, so nothing is counted twice or kept globally.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

PREFIX = "cilium_clustermesh_apiserver"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class KindReport:
    """One kind of keys. `scope` is as in Cilium's metrics: `ip/v1`."""

    scope: str
    queued: int
    stored: int
    errors: int
    synced: bool
    refused: int


@dataclass(frozen=True, slots=True)
class Report:
    """The exporter as a whole. `bootstrap_seconds` is 0 until everything was synced once."""

    cluster: str
    kinds: tuple[KindReport, ...]
    bootstrap_seconds: float
    kvstore_sessions: int  # how often all was compared with an etcd and published

    @property
    def ready(self) -> bool:
        """Whether all that there is to export has been stored once: it stays so in later trouble."""
        return self.bootstrap_seconds > 0


def application(report: Callable[[], Report]) -> web.Application:
    registry = CollectorRegistry()
    registry.register(_Collector(report))

    async def readyz(_: web.Request) -> web.Response:
        ready = report().ready
        return web.Response(status=200 if ready else 500, text="Ready" if ready else "NotReady")

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": METRICS_TYPE})

    app = web.Application()
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", metrics)
    return app


class _Collector:
    """Turns the report of this moment into metrics. Satisfies prometheus_client's Collector."""

    def __init__(self, report: Callable[[], Report]) -> None:
        self._report = report

    def describe(self) -> Iterable[Metric]:
        return ()  # else registering would ask for a report before there is one

    def collect(self) -> Iterator[Metric]:
        report = self._report()
        yield _plain(
            "bootstrap_seconds", "Seconds until everything was exported once", report.bootstrap_seconds
        )
        yield _plain("kvstore_sessions", "Times that all was compared with etcd", report.kvstore_sessions)
        yield from _by_kind(report)


def _plain(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value=float(value))


def _by_kind(report: Report) -> Iterator[Metric]:
    labels = ["scope", "source_cluster"]
    queue = GaugeMetricFamily(
        f"{PREFIX}_kvstore_sync_queue_size", "Keys waiting to be written", labels=labels
    )
    errors = CounterMetricFamily(f"{PREFIX}_kvstore_sync_errors", "Failed writes", labels=labels)
    stored = GaugeMetricFamily(f"{PREFIX}_kvstore_keys", "Keys stored", labels=labels)
    refused = GaugeMetricFamily(f"{PREFIX}_objects_refused", "Objects not exportable", labels=labels)
    synced = GaugeMetricFamily(
        f"{PREFIX}_kvstore_initial_sync_completed",
        "Whether the canary is written",
        labels=[*labels, "action"],
    )
    for kind in report.kinds:
        at = [kind.scope, report.cluster]
        queue.add_metric(at, kind.queued)
        errors.add_metric(at, kind.errors)
        stored.add_metric(at, kind.stored)
        refused.add_metric(at, kind.refused)
        synced.add_metric([*at, "write"], float(kind.synced))
    return iter((queue, errors, stored, refused, synced))
