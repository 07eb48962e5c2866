"""Cilium's metric names, one line a peer and, for refusals, a reason."""

from __future__ import annotations

from agent import metrics
from agent.nodehealth import ClusterHealth, DataPlane
from aiokit.wait import eventually
from kvstore.memory import MemoryBackend
from mesh.keys import Kind
from tests.agent.peerdata import PeerData
from tests.agent.peering import Peering
from tests.agent.values import tables

WEST = PeerData()
AT = '{source_cluster="east",target_cluster="west"}'


async def test_a_peer_has_ciliums_metrics_and_each_reason_of_refusal_its_own_count() -> None:
    store = MemoryBackend()
    peering = Peering(store, tables())
    await WEST.publish(store)
    for last in (7, 8):
        await store.put(WEST.prefix(Kind.IPS) + b"10.2.1.%d" % last, b"no json")
    await store.put(WEST.prefix(Kind.IPS) + b"10.9.9.9", WEST.pairs()[Kind.IPS]["10.2.1.5"])
    async with peering.running():
        await eventually(lambda: peering.is_ready)
        values = metrics.mesh("east", 1) | metrics.peer(
            "east", "west", peering.peer.status(), peering.state.counts(), programmed=True
        )
    assert values == {
        'cilium_clustermesh_remote_clusters{source_cluster="east"}': 1,
        f"cilium_clustermesh_remote_cluster_nodes{AT}": 1,
        f"cilium_clustermesh_remote_cluster_endpoints{AT}": 2,
        f"cilium_clustermesh_remote_cluster_services{AT}": 1,
        f"cilium_clustermesh_remote_cluster_failures{AT}": 0,
        f"cilium_clustermesh_remote_cluster_last_failure_ts{AT}": 0,
        f"cilium_clustermesh_remote_cluster_readiness_status{AT}": 1,
        f"cilium_clustermesh_remote_cluster_cache_revocations{AT}": 0,
        f"clustermesh_remote_cluster_identities{AT}": 1,
        f"clustermesh_remote_cluster_programmed{AT}": 1,
        f"clustermesh_remote_cluster_outside_addresses{AT}": 0,
        refused("ips: invalid JSON: Expecting value at N"): 2,
        refused("ips: IP address does not match key: got N"): 1,
    }


def refused(reason: str) -> str:
    return f'clustermesh_refusals_total{AT[:-1]},reason="{reason}"}}'


def test_values_of_labels_cannot_break_out_of_their_quotes() -> None:
    assert metrics.labels(reason='a"b\\c\nd') == '{reason="a\\"b\\\\c\\nd"}'


def test_big_counts_are_written_whole() -> None:
    assert metrics.text({"b": 123456789, "a": 0.5}) == "a 0.5\nb 123456789\n"


def test_what_is_withdrawn_and_how_full_maps_are_is_counted() -> None:
    health = ClusterHealth(DataPlane.PARTIAL, 2, {"198.18.1.21": "it does not answer any more"}, 7)
    at = '{source_cluster="east",target_cluster="west"}'
    assert metrics.withdrawals("east", "west", health) == {
        f"clustermesh_remote_cluster_nodes_probed{at}": 2,
        f"clustermesh_remote_cluster_nodes_withdrawn{at}": 1,
        f"clustermesh_remote_cluster_backends_withdrawn{at}": 7,
    }
    lxc = {"cilium_lxc": 0.5}
    assert metrics.map_pressure(lxc) == {'cilium_bpf_map_pressure{map_name="cilium_lxc"}': 0.5}


def test_nodes_and_health_endpoints_are_counted_by_what_their_probes_say() -> None:
    west = ClusterHealth(states={"reachable": 2, "silent": 1}, endpoint_states={"unknown": 1})
    values = metrics.connectivity("east", "node-1", [west, ClusterHealth(states={"reachable": 1})])
    where = 'cilium_node_health_connectivity_status{source_cluster="east",source_node_name="node-1"'
    assert {key.removeprefix(where): value for key, value in values.items()} == {
        ',type="node",status="reachable"}': 3,
        ',type="node",status="unreachable"}': 1,
        ',type="node",status="unknown"}': 0,
        ',type="endpoint",status="reachable"}': 0,
        ',type="endpoint",status="unreachable"}': 0,
        ',type="endpoint",status="unknown"}': 1,
    }
