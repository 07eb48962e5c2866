"""KVStoreMesh's report for Prometheus: Cilium's names where it has one (spec 4.8). Pure.

Ours alone are `remote_cluster_refusals_total` and the digests of `kvstore_digest_info`.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from clustermesh_apiserver.kvstoremesh.report import Report
from kvstore import metric
from kvstore.meter import Meter
from peering import metric as peer_metric

PREFIX = "cilium_kvstoremesh"


def metrics(report: Report, meter: Meter) -> Iterator[Metric]:
    """Everything at this moment."""
    yield _plain("bootstrap_seconds", "Seconds until everything was copied once", report.bootstrap_seconds)
    yield _plain("leader_election_status", "Whether this replica writes the copies", report.is_leading)
    statuses = {remote.name: remote.status for remote in report.remotes}
    yield from peer_metric.families(PREFIX, report.cluster, statuses)
    yield _refusals(report)
    synced = (
        metric.Synced(f"{kind.value}/v1", remote.name, status)
        for remote in report.remotes
        for kind, status in remote.stored.items()
    )
    yield from metric.syncing(PREFIX, synced)
    yield from metric.traffic(PREFIX, meter)


def _refusals(report: Report) -> Metric:
    labels = ["source_cluster", "target_cluster", "reason"]
    refused = CounterMetricFamily(f"{PREFIX}_remote_cluster_refusals", "What was not taken", labels=labels)
    for remote in report.remotes:
        for reason, count in remote.counts.refusals.items():
            refused.add_metric([report.cluster, remote.name, reason], count)
    return refused


def _plain(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value=float(value))
