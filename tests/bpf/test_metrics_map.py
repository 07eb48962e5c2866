"""Counters of all CPUs become one figure."""

from bpf import metrics_map
from bpf.layout import METRICS_KEY, METRICS_VALUE
from bpf.metrics_map import Metric


def test_a_metric_sums_its_cpus() -> None:
    raw = METRICS_VALUE.pack(2, 100) + METRICS_VALUE.pack(3, 50)
    assert metrics_map.read({METRICS_KEY.pack(133, 1, 0, 0, b""): raw}) == [
        Metric(133, "policy denied", "ingress", 5, 150)
    ]


def test_only_forwarding_is_no_drop() -> None:
    one = METRICS_VALUE.pack(1, 1)
    dump = {METRICS_KEY.pack(reason, 2, 0, 0, b""): one for reason in (0, 152, 250)}
    assert [(m.reason, m.is_drop) for m in metrics_map.read(dump)] == [
        ("forwarded", False),
        ("no matching local endpoint", True),
        ("reason 250", True),
    ]
