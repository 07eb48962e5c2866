"""What the exporter says of itself: one frozen report, from which readiness and metrics are made. Pure.

Metric names are Cilium's where it has one (spec 4.8).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric

from kvstore import metric
from kvstore.meter import Meter
from kvstore.syncstore import SyncStatus

PREFIX = "cilium_clustermesh_apiserver"


@dataclass(frozen=True, slots=True)
class KindReport:
    """One kind of keys. `scope` is as in Cilium's metrics: `ip/v1`."""

    scope: str
    status: SyncStatus
    refused: int


@dataclass(frozen=True, slots=True)
class Report:
    """The exporter as a whole. `bootstrap_seconds` is 0 until everything was synced once."""

    cluster: str
    kinds: tuple[KindReport, ...]
    bootstrap_seconds: float
    kvstore_sessions: int  # how often all was compared with an etcd and published
    heartbeat_error: str = ""  # why our etcd takes no writes, though there may be nothing else to write

    @property
    def ready(self) -> bool:
        """Whether all that there is to export has been stored once: it stays so in later trouble."""
        return self.bootstrap_seconds > 0


def as_object(report: Report) -> dict[str, Any]:
    """For `GET /v1/status`: compare the digests with those that agents and KVStoreMesh report of us."""
    return {
        "cluster": report.cluster,
        "ready": report.ready,
        "bootstrap-seconds": round(report.bootstrap_seconds, 3),
        "kvstore-sessions": report.kvstore_sessions,
        "heartbeat-error": report.heartbeat_error,
        "kinds": [
            {
                "scope": kind.scope,
                "synced": kind.status.synced,
                "stored": kind.status.stored,
                "queued": kind.status.queued,
                "errors": kind.status.errors,
                "last-error": kind.status.last_error,
                "refused": kind.refused,
                "digest": kind.status.digest,
            }
            for kind in report.kinds
        ],
    }


def metrics(report: Report, meter: Meter) -> Iterator[Metric]:
    """Everything about the exporter at this moment."""
    yield GaugeMetricFamily(
        f"{PREFIX}_bootstrap_seconds",
        "Seconds until everything was exported once",
        value=report.bootstrap_seconds,
    )
    yield GaugeMetricFamily(
        f"{PREFIX}_kvstore_sessions",
        "Times that all was compared with etcd",
        value=report.kvstore_sessions,
    )
    refused = GaugeMetricFamily(
        f"{PREFIX}_objects_refused", "Objects not exportable", labels=["scope", "source_cluster"]
    )
    for kind in report.kinds:
        refused.add_metric([kind.scope, report.cluster], kind.refused)
    yield refused
    kinds = (metric.Synced(kind.scope, report.cluster, kind.status) for kind in report.kinds)
    yield from metric.syncing(PREFIX, kinds)
    yield from metric.traffic(PREFIX, meter)
