"""A peer in Cilium's words, read back by what reads agents' answers."""

from __future__ import annotations

import msgspec

from mesh.clusterconfig import SERVICES_ONLY, ClusterConfig
from mesh.keys import Kind
from peering import clusterreport
from peering.remotecluster import NEVER, remote_cluster
from peering.status import WAITING, PeerStatus

READY = PeerStatus(
    connected=True,
    text="etcd: 1/1 connected",
    config=ClusterConfig(4, synced_canaries=True, cached=True),
    config_required=True,
    config_retrieved=True,
    kinds=tuple(Kind),
    synced=frozenset(Kind),
    failures=2,
    last_failure=1700000000.0,
)


def test_zero_and_false_are_left_out() -> None:
    assert remote_cluster("west", PeerStatus(), {}) == {
        "name": "west",
        "status": WAITING,
        "config": {"required": False, "retrieved": False},
        "synced": {"nodes": False, "endpoints": False, "identities": False, "services": False},
        "last-failure": NEVER,
    }


def test_every_number_has_ciliums_name() -> None:
    said = remote_cluster("west", READY, {kind: number for number, kind in enumerate(Kind, 1)})
    read = msgspec.convert(said, clusterreport.RemoteCluster)
    assert (read.num_nodes, read.num_identities, read.num_endpoints) == (1, 2, 3)
    assert (read.num_shared_services, read.num_endpoint_slices, read.num_service_exports) == (4, 5, 6)
    assert (read.num_failures, read.last_failure) == (2, "2023-11-14T22:13:20Z")
    assert read.ready and read.connected
    assert read.config == clusterreport.RemoteConfig(True, True, 4, True, True, None, SERVICES_ONLY)
    assert read.synced == clusterreport.Synced(True, True, True, True, True, True)


def test_being_ready_may_take_more_than_the_connection() -> None:
    assert "ready" not in remote_cluster("west", READY, {}, is_ready=False)
