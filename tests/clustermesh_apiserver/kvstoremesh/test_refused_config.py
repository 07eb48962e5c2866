"""A configuration that is refused is said until it is a good one."""

from __future__ import annotations

from clustermesh_apiserver.kvstoremesh.remote_cluster import RemoteCluster
from clustermesh_apiserver.kvstoremesh.report import remote_report
from kvstore.meter import Meter
from mesh.clusterconfig import ClusterConfig
from peering.status import PeerStatus


def test_a_refused_configuration_is_said_until_there_is_a_good_one() -> None:
    remote = RemoteCluster("west", Meter())
    remote.refused("cilium/cluster-config/west", "cluster-config: ClusterID 0 is reserved")
    said = {"cluster-config: ClusterID N is reserved": 1}
    report = remote_report("west", PeerStatus(), remote)
    assert (report.counts.refusals, report.counts.refused_now) == (said, said)
    remote.begin(ClusterConfig(2, True), ())
    assert (dict(remote.refusals), remote.refused_now) == (said, {})
