"""What Prometheus reads of a meter: parsed by its own parser."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from kvstore import metric
from kvstore.meter import Meter
from kvstore.syncstore import SyncStatus

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Fixed:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def parsed(families: list[Metric]) -> Samples:
    registry = CollectorRegistry()
    registry.register(Fixed(families))
    text = generate_latest(registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def at(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return f"cilium_kvstoremesh_{name}", tuple(sorted(labels.items()))


def test_traffic_carries_ciliums_names() -> None:
    meter, key = Meter(), b"cilium/cache/ip/v1/west/"
    meter.operation(key, "set", "Txn", 0.004, failed=False)
    meter.operation(key, "set", "Txn", 20.0, failed=False)
    meter.event(key, "modify", 0.001, 3)
    meter.propagation(key, "west").observe(0.002)
    meter.quorum_error("timeout")
    samples = parsed(list(metric.traffic("cilium_kvstoremesh", meter)))

    txn = {"scope": "ip/v1", "kind": "set", "action": "Txn", "outcome": "success"}
    assert samples[at("kvstore_operations_duration_seconds_bucket", le="0.005", **txn)] == 1
    assert samples[at("kvstore_operations_duration_seconds_bucket", le="+Inf", **txn)] == 2
    assert samples[at("kvstore_operations_duration_seconds_sum", **txn)] == 20.004
    assert samples[at("kvstore_events_queue_seconds_count", scope="ip/v1", action="modify")] == 3
    propagation = {"scope": "ip/v1", "source_cluster": "west"}
    assert samples[at("kvstore_propagation_seconds_bucket", le="0.0025", **propagation)] == 1
    assert samples[at("kvstore_quorum_errors_total", error="timeout")] == 1


def test_each_prefix_says_how_far_it_is() -> None:
    status = SyncStatus(5, 7, 2, False, digest="00c0ffee00c0ffee")
    samples = parsed(list(metric.syncing("cilium_kvstoremesh", [metric.Synced("ip/v1", "west", status)])))
    labels = {"scope": "ip/v1", "source_cluster": "west"}
    assert samples == {
        at("kvstore_sync_queue_size", **labels): 5,
        at("kvstore_sync_errors_total", **labels): 2,
        at("kvstore_keys", **labels): 7,
        at("kvstore_initial_sync_completed", action="write", **labels): 0,
        at("kvstore_digest_info", digest="00c0ffee00c0ffee", **labels): 1,
    }
