"""KVStoreMesh's report for Prometheus: Cilium's names where it has one (spec 4.8). Pure.

Cilium's own drop `clustermesh_` from the names of remote clusters behind this program's prefix; so do we.
Ours alone are `remote_cluster_refusals_total` and the digests of `kvstore_digest_info`.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from clustermesh_apiserver.kvstoremesh.report import Report
from kvstore import metric
from kvstore.meter import Meter

PREFIX = "cilium_kvstoremesh"
_REMOTE = f"{PREFIX}_remote_cluster"


def metrics(report: Report, meter: Meter) -> Iterator[Metric]:
    """Everything at this moment."""
    yield _plain("bootstrap_seconds", "Seconds until everything was copied once", report.bootstrap_seconds)
    yield _plain("leader_election_status", "Whether this replica writes the copies", report.is_leading)
    clusters = GaugeMetricFamily(f"{_REMOTE}s", "Clusters that are configured", labels=["source_cluster"])
    clusters.add_metric([report.cluster], len(report.remotes))
    yield clusters
    yield from _remotes(report)
    synced = (
        metric.Synced(f"{kind.value}/v1", remote.name, status)
        for remote in report.remotes
        for kind, status in remote.stored.items()
    )
    yield from metric.syncing(PREFIX, synced)
    yield from metric.traffic(PREFIX, meter)


def _remotes(report: Report) -> Iterator[Metric]:
    labels = ["source_cluster", "target_cluster"]
    failures = GaugeMetricFamily(f"{_REMOTE}_failures", "Broken connections", labels=labels)
    last = GaugeMetricFamily(f"{_REMOTE}_last_failure_ts", "When the last one broke", labels=labels)
    ready = GaugeMetricFamily(f"{_REMOTE}_readiness_status", "Connected and copied", labels=labels)
    revoked = GaugeMetricFamily(f"{_REMOTE}_cache_revocations", "Absences beyond the TTL", labels=labels)
    refused = CounterMetricFamily(f"{_REMOTE}_refusals", "What was not taken", labels=[*labels, "reason"])
    for remote in report.remotes:
        at = [report.cluster, remote.name]
        failures.add_metric(at, remote.status.failures)
        last.add_metric(at, remote.status.last_failure)
        ready.add_metric(at, float(remote.status.is_ready and remote.is_stored))
        revoked.add_metric(at, remote.revocations)
        for reason, count in remote.counts.refusals.items():
            refused.add_metric([*at, reason], count)
    return iter((failures, last, ready, revoked, refused))


def _plain(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value=float(value))
