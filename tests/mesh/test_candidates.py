"""Every endpoint is told once, with a reason, and those that serve are the merge's."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.candidates import Candidate, Situation, candidates
from mesh.localservice import Frontend, LocalBackend, local_sources
from mesh.matching import ServicePort
from mesh.service import GlobalService, Port
from tests.mesh.test_merge import FRONTEND, HTTP, local, remote, told, wishing
from tests.mesh.whole import WholeService, backends_for

LOCAL = {"affinity": "local"}


def explained(
    service: WholeService,
    *remotes: GlobalService,
    withdrawn: Mapping[str, str] | None = None,
    frontend: Frontend = FRONTEND,
) -> list[Candidate]:
    gone = withdrawn or {}
    chosen = backends_for(service, remotes, own="east", withdrawn=gone.keys()).get(frontend, ())
    situation = Situation(local_sources(service, service.backends), remotes, "east", gone)
    return candidates(service, frontend, chosen, situation)


def reasons(found: list[Candidate]) -> dict[str, str]:
    return {f"{each.cluster} {each.ip}": each.reason for each in found}


@pytest.mark.parametrize(
    ("annotations", "state", "wanted"),
    [
        ({}, "active", {"east 10.1.0.1": "serves", "west 10.2.0.1": "the Service here is not global"}),
        (wishing(), "active", {"east 10.1.0.1": "serves", "west 10.2.0.1": "serves"}),
        (wishing(), "terminating", {"east 10.1.0.1": "it is ending", "west 10.2.0.1": "serves"}),
        (
            {**wishing(), "service.cilium.io/affinity": "local"},
            "active",
            {
                "east 10.1.0.1": "serves",
                "west 10.2.0.1": "affinity local: 1 active local backends are enough, and there are so many",
            },
        ),
        (
            {**wishing(), "service.cilium.io/affinity": "remote"},
            "active",
            {"east 10.1.0.1": "affinity remote: other clusters serve", "west 10.2.0.1": "serves"},
        ),
        (
            {**wishing(), "service.clustermesh.io/weights": "west=0,local=1"},
            "active",
            {"east 10.1.0.1": "serves", "west 10.2.0.1": "its cluster has weight 0"},
        ),
        (
            {**wishing(), "service.clustermesh.io/cluster-preference": "west,local"},
            "active",
            {
                "east 10.1.0.1": "clusters before it in the preference west,local serve",
                "west 10.2.0.1": "serves",
            },
        ),
    ],
)
def test_each_endpoint_has_its_reason(
    annotations: dict[str, str], state: str, wanted: dict[str, str]
) -> None:
    assert reasons(explained(local(annotations, state), remote())) == wanted


def test_what_does_not_answer_says_why() -> None:
    found = explained(local(wishing(), "active"), remote(), withdrawn={"10.2.0.1": "its node is silent"})
    assert reasons(found)["west 10.2.0.1"] == "withdrawn: its node is silent"


def test_an_endpoint_without_the_port_is_told_too() -> None:
    other = remote({"10.2.0.1": {"metrics": Port("TCP", 9090)}, "fd00::1": {"http": Port("TCP", 8080)}})
    found = reasons(explained(local(wishing(), "active"), other))
    assert found["west 10.2.0.1"] == "it has no TCP port named 'http'"
    assert found["west fd00::1"] == "its address is of another family than the frontend's"


def test_an_address_that_two_clusters_tell_serves_once() -> None:
    found = explained(local(wishing(), "active"), told(2, "10.1.0.1"))
    assert [(each.ip, each.chosen) for each in found] == [("10.1.0.1", True), ("10.1.0.1", False)]
    assert "another cluster's too" in found[1].reason


def test_a_port_that_the_service_does_not_have_has_no_candidates() -> None:
    assert explained(local(wishing(), "active"), frontend=Frontend("172.20.1.1", 81, "TCP")) == []


ANNOTATIONS = st.sampled_from(
    [
        {},
        wishing(),
        {**wishing(), "service.cilium.io/affinity": "local"},
        {**wishing(), "service.cilium.io/affinity": "remote"},
        {**wishing(), "service.clustermesh.io/weights": "local=2,*=0"},
        {**wishing(), "service.clustermesh.io/cluster-preference": "west,*"},
        {**wishing(), "service.clustermesh.io/minimum-local-backends": "2"},
    ]
)
ADDRESSES = st.sampled_from(["10.1.0.1", "10.1.0.2", "10.2.0.1", "10.2.0.2", "fd00::1"])
OWN = st.lists(
    st.builds(
        LocalBackend,
        ADDRESSES,
        st.sampled_from([{"http": Port("TCP", 8080)}, {"x": Port("TCP", 1)}]),
        st.sampled_from(["active", "terminating"]),
    ),
    unique_by=lambda backend: backend.ip,
    max_size=4,
)
FAR = st.lists(
    st.builds(lambda ips: remote({ip: {"http": Port("TCP", 8081)} for ip in ips}), st.lists(ADDRESSES)),
    max_size=1,
)


@given(ANNOTATIONS, OWN, FAR, st.sets(ADDRESSES), st.booleans())
def test_what_is_told_to_serve_is_what_serves(
    annotations: dict[str, str],
    own: list[LocalBackend],
    far: list[GlobalService],
    withdrawn: set[str],
    node_only: bool,
) -> None:
    service = WholeService(
        "shop", "web", annotations, ("172.20.1.1",), (ServicePort(*HTTP),), node_only, backends=tuple(own)
    )
    chosen = backends_for(service, far, own="east", withdrawn=withdrawn)[FRONTEND]
    found = explained(service, *far, withdrawn=dict.fromkeys(withdrawn, "silent"))
    serving = {(each.ip, each.port) for each in found if each.chosen}
    assert serving == {(backend.ip, backend.port) for backend in chosen}
    assert len(serving) == sum(each.chosen for each in found)
    assert all(each.reason for each in found)
    near = [backend for backend in own if not node_only or backend.node == ""]
    assert len(found) == len(near) + sum(len(each.backends) for each in far)
