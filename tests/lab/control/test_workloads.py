"""Deployments and DaemonSets get exactly their pods, whatever was there before."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8s.resource import DAEMONSET, DEPLOYMENT, POD
from lab.control.world import FINALIZER, Delete
from tests.lab.worlds import FakeCluster


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster()
    made.control_node()
    for name in ("node-1", "node-2"):
        made.node(name)
    return made


def placed(cluster: FakeCluster, app: str = "") -> list[str]:
    return sorted(pod["spec"].get("nodeName", "") for pod in cluster.pods(app))


def test_replicas_are_spread_over_the_worker_nodes(cluster: FakeCluster) -> None:
    cluster.workload(DEPLOYMENT, "web", replicas=4)
    cluster.live()
    assert placed(cluster) == ["node-1", "node-1", "node-2", "node-2"]


def test_pods_are_held_back_by_their_kubelet_and_named_by_their_owner(cluster: FakeCluster) -> None:
    cluster.workload(DEPLOYMENT, "web")
    cluster.live()
    (pod,) = cluster.pods()
    assert pod["metadata"]["finalizers"] == [FINALIZER]
    assert pod["metadata"]["name"].startswith("web-")
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "Deployment"


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=5))
def test_any_sequence_of_scalings_and_template_changes_is_followed(steps: list[tuple[int, bool]]) -> None:
    cluster = FakeCluster()
    cluster.node("node-1")
    web = cluster.workload(DEPLOYMENT, "web")
    for number, (replicas, changes_template) in enumerate(steps):
        web["spec"]["replicas"] = replicas
        if changes_template:
            web["spec"]["template"]["spec"]["containers"][0]["args"] = [str(number)]
        cluster.live()
        assert len(cluster.pods("web")) == replicas
        assert len({str(pod["spec"]["containers"]) for pod in cluster.pods("web")}) <= 1
        status = cluster.objects[DEPLOYMENT]["default/web"]["status"]
        assert (status["replicas"], status["readyReplicas"]) == (replicas, replicas)


def test_a_rollout_takes_one_ready_pod_at_a_time(cluster: FakeCluster) -> None:
    web = cluster.workload(DEPLOYMENT, "web", replicas=3)
    cluster.live()
    web["spec"]["template"]["spec"]["containers"][0]["args"] = ["new"]
    removed = [write for write in cluster.settle() if isinstance(write, Delete)]
    assert len(removed) == 1
    assert not [write for write in cluster.settle() if isinstance(write, Delete)]


def test_on_the_nodes_network_a_successor_waits_for_the_end(cluster: FakeCluster) -> None:
    api = cluster.workload(DEPLOYMENT, "api", hostNetwork=True)
    cluster.live()
    api["spec"]["template"]["spec"]["containers"][0]["args"] = ["new"]
    cluster.settle()
    assert len(cluster.pods("api")) == 1  # the old one, ending
    cluster.live()
    assert [pod["spec"]["containers"][0]["args"] for pod in cluster.pods("api")] == [["new"]]


def test_a_daemonset_has_one_pod_on_every_worker_node(cluster: FakeCluster) -> None:
    cluster.workload(DAEMONSET, "agent")
    cluster.live()
    assert placed(cluster) == ["node-1", "node-2"]
    cluster.node("node-3")
    cluster.live()
    assert placed(cluster) == ["node-1", "node-2", "node-3"]
    status = cluster.objects[DAEMONSET]["default/agent"]["status"]
    assert (status["desiredNumberScheduled"], status["numberReady"]) == (3, 3)


@pytest.mark.parametrize(
    "asking",
    [{"tolerations": [{"operator": "Exists"}]}, {"nodeSelector": {"clustermesh.io/control": ""}}],
)
def test_the_control_plane_node_is_for_those_who_ask(cluster: FakeCluster, asking: dict[str, object]) -> None:
    cluster.workload(DAEMONSET, "agent", **asking)
    cluster.live()
    assert "control" in placed(cluster)


def test_a_changed_daemonset_is_replaced_node_by_node(cluster: FakeCluster) -> None:
    agent = cluster.workload(DAEMONSET, "agent")
    cluster.live()
    agent["spec"]["template"]["spec"]["containers"][0]["args"] = ["new"]
    assert len([write for write in cluster.settle() if isinstance(write, Delete)]) == 1
    cluster.live()
    assert placed(cluster) == ["node-1", "node-2"]
    assert all(pod["spec"]["containers"][0]["args"] == ["new"] for pod in cluster.pods())


def test_pods_without_their_owner_are_removed(cluster: FakeCluster) -> None:
    cluster.workload(DEPLOYMENT, "web", replicas=2)
    cluster.live()
    del cluster.objects[DEPLOYMENT]["default/web"]
    cluster.live()
    assert cluster.pods() == []


def test_pods_of_nobody_are_left_alone(cluster: FakeCluster) -> None:
    cluster.add(POD, {"metadata": {"name": "mine"}, "spec": {"containers": [{"name": "c"}]}})
    cluster.live()
    assert placed(cluster) in (["node-1"], ["node-2"])


def test_a_pod_that_fits_nowhere_says_so_once(cluster: FakeCluster) -> None:
    cluster.workload(DEPLOYMENT, "web", nodeSelector={"disk": "gold"})
    cluster.live()
    (pod,) = cluster.pods()
    assert pod["status"]["conditions"][0]["reason"] == "Unschedulable"
    cluster.node("node-9", disk="gold")
    cluster.live()
    assert placed(cluster) == ["node-9"]


def test_two_deployments_share_the_nodes_evenly(cluster: FakeCluster) -> None:
    cluster.workload(DEPLOYMENT, "a")
    cluster.workload(DEPLOYMENT, "b")
    cluster.live()
    assert Counter(placed(cluster)) == {"node-1": 1, "node-2": 1}
