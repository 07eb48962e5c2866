"""What is known of peers, for Prometheus: Cilium's names, behind the prefix of the program. Pure.

The prefix is `cilium_clustermesh` in agents and `cilium_kvstoremesh`, without `clustermesh`, in KVStoreMesh.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from peering.status import PeerStatus

_TEXTS = {
    "failures": "Broken connections",
    "last_failure_ts": "When the connection broke last, in seconds of the epoch",
    "readiness_status": "Whether everything of the cluster is here",
    "cache_revocations": "How often what may be outdated was forgotten",
}


def values(status: PeerStatus) -> dict[str, float]:
    """One peer's numbers, by the ends of their names."""
    return {
        "failures": status.failures,
        "last_failure_ts": status.last_failure,
        "readiness_status": float(status.is_ready),
        "cache_revocations": status.revocations,
    }


def families(prefix: str, source: str, peers: Mapping[str, PeerStatus]) -> Iterator[Metric]:
    """`source` is our own cluster's name, `peers` every configured peer by its name."""
    clusters = GaugeMetricFamily(
        f"{prefix}_remote_clusters", "Clusters that are configured", labels=["source_cluster"]
    )
    clusters.add_metric([source], len(peers))
    yield clusters
    numbers = {name: values(status) for name, status in peers.items()}
    for end, text in _TEXTS.items():
        labels = ["source_cluster", "target_cluster"]
        family = GaugeMetricFamily(f"{prefix}_remote_cluster_{end}", text, labels=labels)
        for name, of_peer in numbers.items():
            family.add_metric([source, name], of_peer[end])
        yield family
