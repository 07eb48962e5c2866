"""Nothing in a lab may collide: names, addresses, paths."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import plan
from lab.errors import LabError
from lab.paths import LabPaths
from lab.plan import LabPlan

NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?", fullmatch=True).filter(lambda n: n != "fabric")
LABS = st.builds(
    plan.make,
    st.from_regex(r"[a-z][a-z0-9]{0,11}", fullmatch=True),
    st.lists(NAMES, min_size=1, max_size=5, unique=True),
    st.integers(1, 5),
)
UIDS = st.uuids().map(str)


@given(LABS)
def test_names_addresses_and_paths_are_unique(lab: LabPlan) -> None:
    nodes = lab.nodes
    for values in (
        [node.namespace for node in nodes] + [lab.fabric],
        [node.ip for node in nodes],
        [node.port_name for node in nodes],
        [node.bpf_root for node in nodes],
        [node.cgroup(Path("/cg")) for node in nodes],
        [LabPaths(lab.name).node(node).root for node in nodes],
    ):
        assert len(set(values)) == len(values)


@given(LABS)
def test_no_two_ranges_overlap(lab: LabPlan) -> None:
    ranges: list[IPv4Network] = [plan.UNDERLAY, *(node.pod_cidr for node in lab.nodes)]
    ranges += [cluster.service_cidr for cluster in lab.clusters]
    six = [*(node.pod_cidr6 for node in lab.nodes), *(cluster.service_cidr6 for cluster in lab.clusters)]
    for family in (ranges, list(filter(None, six))):
        assert len(family) >= len(six)
        for i, one in enumerate(family):
            assert not any(one.overlaps(other) for other in family[i + 1 :])
    assert all(node.ip in plan.UNDERLAY for node in lab.nodes)


@given(LABS, UIDS)
def test_names_stay_within_the_kernels_limits(lab: LabPlan, uid: str) -> None:
    for node in lab.nodes:
        assert len(node.port_name) <= 15
        assert len(str(LabPaths(lab.name).node(node).agent_socket)) < 108
        name = plan.pod_namespace(lab.name, node.cluster, "p" * 253, uid)
        assert len(name) <= 63
        assert name.startswith(plan.namespace_prefix(lab.name))
    assert len(plan.pod_interface(uid)) <= 15


@given(LABS, st.lists(st.tuples(NAMES, UIDS), max_size=10, unique_by=lambda pod: pod[1]))
def test_a_pods_namespace_is_no_nodes_and_no_other_pods(lab: LabPlan, pods: list[tuple[str, str]]) -> None:
    names = [node.namespace for node in lab.nodes] + [lab.fabric]
    for cluster in lab.clusters:
        names += [plan.pod_namespace(lab.name, cluster.name, pod, uid) for pod, uid in pods]
    assert len(set(names)) == len(names)


@given(LABS, LABS)
def test_one_labs_prefix_never_matches_another_labs_namespaces(one: LabPlan, other: LabPlan) -> None:
    if one.name != other.name:
        prefix = plan.namespace_prefix(one.name)
        assert not any(n.startswith(prefix) for n in [other.fabric, *(x.namespace for x in other.nodes)])


def test_the_layout_is_the_documented_one() -> None:
    lab = plan.make("demo", plan.default_cluster_names(2), 2)
    west = lab.cluster("west")
    node = west.node("node-2")
    assert (west.id, str(west.service_cidr), str(west.control.ip)) == (2, "172.20.2.0/24", "198.18.2.2")
    assert (str(node.ip), str(node.pod_cidr)) == ("198.18.2.12", "10.2.2.0/24")
    assert (node.pod_cidrs, str(west.service_cidr6)) == (
        ("10.2.2.0/24", "fd00:10:2:2::/64"),
        "fd00:20:2::/112",
    )
    assert node.namespace == "cm-demo-west-node-2"
    assert str(node.bpf_root) == "/sys/fs/bpf/clustermesh/demo/west/node-2"
    assert node.pod_cgroup(Path("/c"), "u") == Path("/c/clustermesh/demo/west/node-2/pods/u")


def test_a_lab_without_ipv6_has_no_ranges_of_it() -> None:
    (east,) = plan.make("demo", ["east"], 1, ipv6=False).clusters
    assert (east.service_cidr6, east.nodes[1].pod_cidrs) == (None, ("10.1.1.0/24",))


def test_default_names_follow_the_compass() -> None:
    assert plan.default_cluster_names(6) == ["east", "west", "north", "south", "c5", "c6"]


@pytest.mark.parametrize(
    ("name", "clusters", "nodes"),
    [
        ("a-b", ["east"], 1),
        ("UP", ["east"], 1),
        ("x" * 13, ["east"], 1),
        ("", ["east"], 1),
        ("lab", [], 1),
        ("lab", ["east", "east"], 1),
        ("lab", ["../x"], 1),
        ("lab", ["fabric"], 1),
        ("lab", ["e" * 21], 1),
        ("lab", ["east"], 0),
        ("lab", ["east"], 100),
    ],
)
def test_what_does_not_fit_is_refused(name: str, clusters: list[str], nodes: int) -> None:
    with pytest.raises(LabError):
        plan.make(name, clusters, nodes)
