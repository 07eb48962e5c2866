"""The exporter's metrics carry Cilium's names."""

from __future__ import annotations

from clustermesh_apiserver.health import KindReport, Report, as_object, metrics
from kvstore.meter import Meter
from kvstore.syncstore import SyncStatus

PREFIX = "cilium_clustermesh_apiserver_"
KIND = KindReport("ip/v1", SyncStatus(5, 7, 2, True, digest="00c0ffee00c0ffee"), 1)


def test_it_is_ready_once_everything_was_exported() -> None:
    assert not Report("east", (KIND,), 0.0, 1).ready
    assert Report("east", (KIND,), 1.5, 1).ready


def test_metrics_carry_ciliums_names() -> None:
    families = metrics(Report("east", (KIND,), 1.5, 1), Meter())
    samples = {
        sample.name.removeprefix(PREFIX): (sample.labels, sample.value)
        for family in families
        for sample in family.samples
    }
    at = {"scope": "ip/v1", "source_cluster": "east"}
    assert samples == {
        "bootstrap_seconds": ({}, 1.5),
        "kvstore_sessions": ({}, 1),
        "objects_refused": (at, 1),
        "kvstore_sync_queue_size": (at, 5),
        "kvstore_sync_errors_total": (at, 2),
        "kvstore_keys": (at, 7),
        "kvstore_initial_sync_completed": ({**at, "action": "write"}, 1),
        "kvstore_digest_info": ({**at, "digest": "00c0ffee00c0ffee"}, 1),
    }


def test_the_status_for_people_has_the_digests() -> None:
    said = as_object(Report("east", (KIND,), 1.5, 1))
    assert (said["cluster"], said["ready"], said["bootstrap-seconds"]) == ("east", True, 1.5)
    (kind,) = said["kinds"]
    assert (kind["scope"], kind["stored"], kind["digest"]) == ("ip/v1", 7, "00c0ffee00c0ffee")
