"""Each refusal, provoked by facts alone: its name, its reason and the command that mends it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from certs import bundle
from certs.check import Finding as Flaw
from certs.check import Problem
from certs.issue import Authority
from cli.check import Check
from cli.facts import Address, ClusterFacts, Probe, Reached, Survey
from cli.preflight import findings, refusals
from cli.target import Target

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TRUST = bundle.parse(Authority.create(NOW).issued.certificate_pem)
OTHER = bundle.parse(Authority.create(NOW).issued.certificate_pem)
EAST_AT, WEST_AT = Address("192.0.2.1", 2379), Address("192.0.2.2", 2379)


def cluster(name: str, number: str, address: Address) -> ClusterFacts:
    return ClusterFacts(
        Target(context=name),
        name=name,
        cluster_id=number,
        service_type="LoadBalancer",
        addresses=(address,),
        trust=TRUST,
    )


EAST, WEST = cluster("east", "1", EAST_AT), cluster("west", "2", WEST_AT)
PODS = Survey(pod_cidrs=("10.1.0.0/16", "10.3.0.0/24"))
REFUSED = Probe(WEST_AT, Reached.REFUSED, "connection refused")
SILENT = Probe(WEST_AT, Reached.SILENT, "no answer within 3 s")
ANSWERED = Probe(EAST_AT, Reached.ANSWERED)


def flaw(problem: Problem) -> Survey:
    return Survey(certificate=(Flaw(problem, "what is wrong"),))


def test_nothing_speaks_against_two_good_clusters() -> None:
    assert findings(EAST, [WEST], allow_mismatching_ca=False) == []


CASES = [
    ({"config": {"routing-mode": "native"}}, Check.ROUTING_MODE_DIFFERS, "tunnel and native", "restart"),
    ({"config": {"tunnel-protocol": "geneve"}}, Check.TUNNEL_DIFFERS, "vxlan and geneve", "tunnel-protocol"),
    ({"config": {"tunnel-port": "6081"}}, Check.TUNNEL_DIFFERS, "8472 and 6081", "set tunnel-port in"),
    ({"name": "default"}, Check.CLUSTER_NAME_UNSET, "no name", "clustermesh disable --context west"),
    ({"name": "We.st"}, Check.CLUSTER_NAME_INVALID, "'We.st'", "clustermesh enable --context west"),
    ({"cluster_id": "0"}, Check.CLUSTER_ID_UNSET, "no id", "--cluster-id ID"),
    ({"cluster_id": "256"}, Check.CLUSTER_ID_RANGE, "not between 1 and 255", "--cluster-id ID"),
    ({"cluster_id": "-1"}, Check.CLUSTER_ID_RANGE, "not between 1 and 255", "--cluster-id ID"),
    (
        {"max_connected_clusters": "77"},
        Check.CAPACITY_INVALID,
        "'77', not 255 or 511",
        "--max-connected-clusters 255",
    ),
    ({"name": "east"}, Check.SAME_CLUSTER_NAME, "both named 'east'", "--cluster-name NAME"),
    ({"cluster_id": "1"}, Check.SAME_CLUSTER_ID, "both have the id 1", "--cluster-id ID"),
    (
        {"max_connected_clusters": "511"},
        Check.CAPACITY_DIFFERS,
        "(255 and 511)",
        "enable --context west --max-connected-clusters 255",
    ),
    ({"trust": OTHER}, Check.CA_MISMATCH, "different certificate authorities", "--allow-mismatching-ca"),
    ({"trust": None}, Check.CA_MISSING, "no certificate authority", "clustermesh enable --context west"),
    ({"service_type": ""}, Check.MESH_NOT_ENABLED, "not enabled", "clustermesh enable --context west"),
    ({"addresses": ()}, Check.NO_ADDRESS, "no address yet", "status --context west --wait"),
    (
        {"survey": Survey(pod_cidrs=("10.1.2.0/24",))},
        Check.OVERLAPPING_POD_CIDRS,
        "10.1.0.0/16 and 10.1.2.0/24",
        "other pod CIDRs",
    ),
    (
        {"survey": Survey(probes=(REFUSED,))},
        Check.ENDPOINT_UNREACHABLE,
        "192.0.2.2:2379 does not answer from here (connection refused)",
        "--no-dial",
    ),
    (
        {"survey": flaw(Problem.WRONG_NAME)},
        Check.SERVER_CERTIFICATE_NAME,
        "server-cert: what is wrong",
        "clustermesh enable --context west",
    ),
    ({"survey": flaw(Problem.WRONG_USE)}, Check.SERVER_CERTIFICATE_USE, "wrong", "enable --context west"),
    ({"survey": flaw(Problem.UNTRUSTED)}, Check.SERVER_CERTIFICATE_CHAIN, "wrong", "enable --context west"),
    (
        {"survey": flaw(Problem.EXPIRED)},
        Check.SERVER_CERTIFICATE_EXPIRED,
        "wrong",
        "certs renew --context west",
    ),
    (
        {"survey": flaw(Problem.NOT_YET_VALID)},
        Check.SERVER_CERTIFICATE_CLOCK,
        "wrong",
        "set the clocks right",
    ),
    (
        {"cluster_id": "128", "config": {"ipam": "eni"}},
        Check.UPPER_HALF_CLUSTER_ID,
        "id 128 has bit 0x80, which ipam eni uses",
        "1-127 or 256-383",
    ),
    (
        {"cluster_id": "255", "config": {"cni-chaining-mode": "aws-cni"}},
        Check.UPPER_HALF_CLUSTER_ID,
        "cni-chaining-mode aws-cni",
        "1-127",
    ),
]


@pytest.mark.parametrize(("changes", "check", "reason", "mend"), CASES, ids=lambda value: str(value)[:40])
def test_each_refusal_has_its_name_its_reason_and_what_mends_it(
    changes: dict[str, object], check: Check, reason: str, mend: str
) -> None:
    west = replace(WEST, **changes)  # type: ignore[arg-type]
    (found,) = findings(replace(EAST, survey=PODS), [west], allow_mismatching_ca=False)
    assert found.check is check
    assert reason in found.reason
    assert mend in found.mend
    assert found.refuses
    assert refusals(replace(EAST, survey=PODS), [west], allow_mismatching_ca=False) == [found.text]
    assert found.text.endswith(f"({check.label})")


def test_every_check_before_a_connection_is_provoked_here() -> None:
    before = list(Check)[: list(Check).index(Check.PEER_DOWN)]
    assert {case[1] for case in CASES} == set(before)


def test_a_silent_address_is_only_said() -> None:
    west = replace(WEST, survey=Survey(probes=(SILENT,)))
    (found,) = findings(EAST, [west], allow_mismatching_ca=False)
    assert (found.check, found.refuses) == (Check.ENDPOINT_UNREACHABLE, False)
    assert refusals(EAST, [west], allow_mismatching_ca=False) == []


def test_one_address_that_answers_is_enough() -> None:
    west = replace(WEST, survey=Survey(probes=(ANSWERED, REFUSED)))
    assert refusals(EAST, [west], allow_mismatching_ca=False) == []


def test_a_flaw_that_is_stored_and_served_is_said_once() -> None:
    flaws = (Flaw(Problem.EXPIRED, "expired"),)
    west = replace(WEST, survey=Survey(certificate=flaws, probes=(replace(ANSWERED, certificate=flaws),)))
    assert len(findings(EAST, [west], allow_mismatching_ca=False)) == 1


def test_what_is_meant_is_passed_over() -> None:
    west = replace(WEST, survey=PODS)
    skip = {Check.OVERLAPPING_POD_CIDRS}
    assert findings(replace(EAST, survey=PODS), [west], allow_mismatching_ca=False, skip=skip) == []


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"tunnel-port": "8472"}, {}),
        ({"tunnel-port": "0"}, {"tunnel-protocol": "vxlan"}),
        ({"tunnel-protocol": "geneve"}, {"tunnel-protocol": "geneve", "tunnel-port": "6081"}),
        (
            {"routing-mode": "native", "tunnel-protocol": "geneve"},
            {"routing-mode": "native", "tunnel-port": "1"},
        ),
    ],
)
def test_tunnels_that_are_one_in_other_words_are_no_difference(
    ours: dict[str, str], theirs: dict[str, str]
) -> None:
    assert (
        findings(replace(EAST, config=ours), [replace(WEST, config=theirs)], allow_mismatching_ca=False) == []
    )


@pytest.mark.parametrize(
    ("number", "config"),
    [
        ("127", {"ipam": "eni"}),
        ("256", {"ipam": "eni"}),
        ("128", {"ipam": "cluster-pool"}),
        ("128", {"ipam": "eni", "allow-unsafe-policy-skb-usage": "true"}),
    ],
)
def test_ids_of_the_upper_half_are_refused_only_where_marks_collide(
    number: str, config: dict[str, str]
) -> None:
    one = replace(EAST, max_connected_clusters="511")
    west = replace(WEST, cluster_id=number, config=config, max_connected_clusters="511")
    assert findings(one, [west], allow_mismatching_ca=False) == []


def test_mismatching_authorities_may_be_allowed() -> None:
    assert findings(EAST, [replace(WEST, trust=OTHER)], allow_mismatching_ca=True) == []


def test_several_reasons_are_all_said() -> None:
    west = replace(WEST, name="east", cluster_id="1")
    checks = {found.check for found in findings(EAST, [west], allow_mismatching_ca=False)}
    assert checks == {Check.SAME_CLUSTER_NAME, Check.SAME_CLUSTER_ID}


def test_a_peer_that_is_followed_already_keeps_its_name_and_id() -> None:
    east = replace(EAST, survey=Survey(known={"north": 2, "west": 2}))
    (found,) = findings(east, [WEST], allow_mismatching_ca=False)
    assert found.check is Check.SAME_CLUSTER_ID
    assert "east follows north, which has the id 2 of west too" in found.reason
    west = replace(WEST, survey=Survey(known={"east": 9}))
    (found,) = findings(EAST, [west], allow_mismatching_ca=False)
    assert found.check is Check.SAME_CLUSTER_NAME
    assert "west follows another cluster named east, with the id 9" in found.reason
    assert "clustermesh disconnect --context west --destination-context east" in found.mend
