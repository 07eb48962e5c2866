from __future__ import annotations

from peering.metric import families
from peering.status import PeerStatus


def test_every_peer_has_ciliums_numbers() -> None:
    west = PeerStatus(failures=3, last_failure=1700000000.0, revocations=1)
    north = PeerStatus(connected=True, config_retrieved=True, kinds=())
    samples = {
        (sample.name.removeprefix("cilium_kvstoremesh_"), sample.labels.get("target_cluster")): sample.value
        for family in families("cilium_kvstoremesh", "east", {"west": west, "north": north})
        for sample in family.samples
        if sample.labels["source_cluster"] == "east"
    }
    assert samples == {
        ("remote_clusters", None): 2,
        ("remote_cluster_failures", "west"): 3,
        ("remote_cluster_failures", "north"): 0,
        ("remote_cluster_last_failure_ts", "west"): 1700000000.0,
        ("remote_cluster_last_failure_ts", "north"): 0,
        ("remote_cluster_readiness_status", "west"): 0,
        ("remote_cluster_readiness_status", "north"): 1,
        ("remote_cluster_cache_revocations", "west"): 1,
        ("remote_cluster_cache_revocations", "north"): 0,
    }
