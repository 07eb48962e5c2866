"""What is known of our traffic with etcd, for Prometheus: Cilium's names behind a program's prefix. Pure.

Computed when it is scraped, from values that the parts hold anyway; nothing is counted twice (spec 4.8).
The programs' prefixes differ: `cilium_clustermesh_apiserver`, `cilium_kvstoremesh`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from aiokit.histogram import Histogram
from kvstore.meter import Meter
from kvstore.syncstore import SyncStatus

Labels = TypeVar("Labels", bound=tuple[str, ...])  # as many values as names


@dataclass(frozen=True, slots=True)
class Synced:
    """One prefix that we keep written. `scope` is as in Cilium's metrics: `ip/v1`."""

    scope: str
    source_cluster: str
    status: SyncStatus


def traffic(prefix: str, meter: Meter) -> Iterator[Metric]:
    yield _histograms(
        f"{prefix}_kvstore_operations_duration_seconds",
        "How long requests to etcd took",
        ("scope", "kind", "action", "outcome"),
        meter.operations,
    )
    yield _histograms(
        f"{prefix}_kvstore_events_queue_seconds",
        "How long an event of etcd held up those behind it",
        ("scope", "action"),
        meter.handled,
    )
    yield _histograms(
        f"{prefix}_kvstore_propagation_seconds",
        "From hearing of a change to having it stored in our etcd",
        ("scope", "source_cluster"),
        meter.propagations,
    )
    errors = CounterMetricFamily(
        f"{prefix}_kvstore_quorum_errors", "Requests that an etcd did not answer", labels=["error"]
    )
    for reason, count in meter.quorum_errors.items():
        errors.add_metric([reason], count)
    yield errors


def syncing(prefix: str, synced: Iterable[Synced]) -> Iterator[Metric]:
    """`kvstore_digest` is an info: compare its label with the digests that readers report."""
    labels = ["scope", "source_cluster"]
    queue = GaugeMetricFamily(
        f"{prefix}_kvstore_sync_queue_size", "Keys waiting to be written", labels=labels
    )
    errors = CounterMetricFamily(f"{prefix}_kvstore_sync_errors", "Failed writes", labels=labels)
    stored = GaugeMetricFamily(f"{prefix}_kvstore_keys", "Keys stored", labels=labels)
    initial = GaugeMetricFamily(
        f"{prefix}_kvstore_initial_sync_completed",
        "Whether the canary is written",
        labels=[*labels, "action"],
    )
    digest = InfoMetricFamily(f"{prefix}_kvstore_digest", "Digest of what is stored", labels=labels)
    for each in synced:
        at = [each.scope, each.source_cluster]
        queue.add_metric(at, each.status.queued)
        errors.add_metric(at, each.status.errors)
        stored.add_metric(at, each.status.stored)
        initial.add_metric([*at, "write"], float(each.status.synced))
        digest.add_metric(at, {"digest": each.status.digest})
    return iter((queue, errors, stored, initial, digest))


def _histograms(name: str, text: str, labels: Labels, values: Mapping[Labels, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for at, histogram in values.items():
        family.add_metric(list(at), histogram.buckets(), histogram.total)
    return family
