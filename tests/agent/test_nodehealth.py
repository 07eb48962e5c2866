"""Silence and answers, and what they mean for nodes and peers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.nodehealth import (
    ANSWERS,
    ENDPOINT_FAILURES,
    FAILURES,
    UNHEARD_FAILURES,
    Answer,
    DataPlane,
    NodeHealth,
    NodeHealths,
    interval,
    patience,
)

ONE, TWO = "198.18.1.21", "198.18.1.22"
YES, NO = Answer(came=True), Answer(came=False)


def healths(*nodes: str) -> NodeHealths:
    found = NodeHealths()
    found.keep(dict.fromkeys(nodes or (ONE, TWO), "west"))
    return found


def probe(found: NodeHealths, address: str, *, answered: bool, times: int = 1) -> None:
    for _ in range(times):
        found.probed(address, Answer(came=answered))


def test_three_failures_in_a_row_withdraw_a_node_and_two_answers_bring_it_back() -> None:
    found = healths()
    probe(found, ONE, answered=True)
    probe(found, ONE, answered=False, times=FAILURES - 1)
    assert not found.withdrawn(())
    probe(found, ONE, answered=False)
    assert found.withdrawn(()).keys() == {ONE}
    probe(found, ONE, answered=True, times=ANSWERS - 1)
    assert found.withdrawn(()).keys() == {ONE}
    probe(found, ONE, answered=True)
    assert not found.withdrawn(())


def test_a_cluster_that_never_answered_may_be_behind_a_firewall() -> None:
    found = healths()
    for node in (ONE, TWO):
        probe(found, node, answered=False, times=99)
    assert not found.withdrawn(())
    assert found.data_plane("west", ()) is DataPlane.UNKNOWN


def test_a_node_that_never_answered_is_lost_when_others_of_its_cluster_did() -> None:
    found = healths()
    probe(found, ONE, answered=True)
    probe(found, TWO, answered=False, times=UNHEARD_FAILURES)
    assert found.withdrawn(()).keys() == {TWO}


def test_a_node_that_never_answered_is_lost_together_with_its_control_plane() -> None:
    found = healths(ONE)
    probe(found, ONE, answered=False, times=UNHEARD_FAILURES)
    assert not found.withdrawn({"north"})
    assert found.withdrawn({"west"}).keys() == {ONE}


def test_a_node_whose_cluster_becomes_known_keeps_what_its_probes_said() -> None:
    found = NodeHealths()
    found.keep({ONE: "", TWO: ""})
    assert not found.are_placed
    probe(found, ONE, answered=True)
    found.keep({ONE: "west", TWO: "west"})
    assert found.are_placed
    assert found.data_plane("west", ()) is DataPlane.OK
    probe(found, ONE, answered=False, times=FAILURES)
    probe(found, TWO, answered=False, times=UNHEARD_FAILURES)
    found.keep({ONE: "", TWO: ""})  # its cluster is away: what was known of it stays
    assert found.withdrawn(()).keys() == {ONE, TWO}
    found.keep({ONE: "north", TWO: "west"})
    assert found.withdrawn(()).keys() == {TWO}


def test_a_lost_control_plane_alone_withdraws_nothing() -> None:
    found = healths()
    for node in (ONE, TWO):
        probe(found, node, answered=True)
    assert not found.withdrawn({"west"})
    assert found.data_plane("west", ()) is DataPlane.OK


def test_the_data_plane_is_lost_in_part_or_as_a_whole() -> None:
    found = healths()
    assert found.data_plane("west", {ONE}) is DataPlane.PARTIAL
    assert found.data_plane("west", {ONE, TWO}) is DataPlane.LOST
    assert found.data_plane("north", {ONE}) is DataPlane.UNKNOWN


def test_what_is_not_wanted_any_more_is_forgotten() -> None:
    found = healths()
    probe(found, ONE, answered=True)
    probe(found, ONE, answered=False, times=FAILURES)
    found.keep({TWO: "west"})
    found.probed(ONE, NO)
    assert found.nodes == {TWO: NodeHealth("west")}


def test_many_nodes_are_probed_more_slowly() -> None:
    assert interval(3.0, 2) == 1.0
    assert interval(3.0, 1000) == 5.0


@given(st.lists(st.booleans(), max_size=30))
def test_the_verdict_changes_only_after_enough_of_one_kind(probes: list[bool]) -> None:
    node = NodeHealth("west")
    for number, answered in enumerate(probes, 1):
        before, node = node.silent, node.after(answered=answered)
        if node.silent != before:
            needed = FAILURES if node.silent else ANSWERS
            assert set(probes[number - needed : number]) == {not node.silent}
    if len(probes) >= FAILURES:
        assert node.silent or any(probes[-FAILURES:])
    if len(probes) >= ANSWERS and all(probes[-ANSWERS:]):
        assert not node.silent


def test_a_cluster_that_was_forgotten_must_be_heard_again() -> None:
    found = healths()
    probe(found, ONE, answered=True)
    found.keep({})
    found.keep({TWO: "west"})
    probe(found, TWO, answered=False, times=UNHEARD_FAILURES)
    assert not found.withdrawn(())


def cut(found: NodeHealths, *, times: int) -> None:
    """The node answers, its health endpoint does not."""
    for _ in range(times):
        found.probed(ONE, YES, NO)


def test_a_node_that_answers_but_lets_nothing_pass_for_long_is_withdrawn_and_returns() -> None:
    found = healths()
    found.probed(ONE, YES, YES)
    cut(found, times=ENDPOINT_FAILURES - 1)
    assert not found.withdrawn(())  # Cilium may be starting there
    assert (found.nodes[ONE].state, endpoint_state(found)) == ("reachable", "silent")
    cut(found, times=1)
    assert "health endpoint" in found.withdrawn(())[ONE]
    assert found.nodes[ONE].state == "reachable"
    assert found.data_plane("west", {ONE}) is DataPlane.PARTIAL
    found.probed(ONE, YES, YES)
    assert not found.withdrawn(())


def test_a_health_endpoint_that_never_answered_says_nothing() -> None:
    found = healths()
    cut(found, times=2 * ENDPOINT_FAILURES)
    assert not found.withdrawn(())
    assert (found.nodes[ONE].state, endpoint_state(found)) == ("reachable", "silent")


def test_a_node_whose_health_endpoint_alone_answers_is_there() -> None:
    found = healths()
    for _ in range(2 * FAILURES):
        found.probed(ONE, NO, YES)
    assert (found.nodes[ONE].state, endpoint_state(found)) == ("reachable", "reachable")
    assert not found.withdrawn({"west"})


def test_silence_of_both_counts_at_once() -> None:
    found = healths()
    found.probed(ONE, YES, YES)
    for _ in range(FAILURES):
        found.probed(ONE, NO, NO)
    assert found.withdrawn(()) == {ONE: "it does not answer any more"}


def test_a_node_that_has_no_health_endpoint_any_more_is_not_held_to_it() -> None:
    found = healths()
    found.probed(ONE, YES, YES)
    cut(found, times=ENDPOINT_FAILURES)
    found.probed(ONE, YES)  # its agent was set up without
    assert not found.withdrawn(())
    assert found.nodes[ONE].endpoint is None


def test_silence_at_the_health_endpoint_s_ipv6_address_is_only_told() -> None:
    found = healths()
    found.probed(ONE, YES, YES, YES)
    for _ in range(2 * ENDPOINT_FAILURES):
        found.probed(ONE, YES, YES, NO)
    assert [each.state for each in found.nodes[ONE].endpoints] == ["reachable", "silent"]
    assert not found.withdrawn({"west"})
    found.probed(ONE, NO, NO, YES)
    assert found.nodes[ONE].failures == 0  # an answer is an answer


def endpoint_state(found: NodeHealths) -> str:
    endpoint = found.nodes[ONE].endpoint
    return endpoint.state if endpoint else ""


def test_a_probe_is_over_before_the_next_and_never_takes_long() -> None:
    assert (patience(1.0), patience(2.5), patience(60.0)) == (0.8, 2.0, 2.0)
