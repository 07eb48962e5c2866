"""When a backend's silence counts, and when it is back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.backendhealth import ANSWERS, FAILURES, Answer, BackendHealths, Target, targets
from agent.withdrawals import BACKENDS, NODES, Withdrawals
from mesh.addressing import ClusterID
from mesh.service import GlobalService, Port

WEB, DB = Target("west", "shop/web", 8080), Target("west", "shop/db", 5432)
KNOWN = {"10.2.1.5": WEB, "10.2.1.6": WEB, "10.2.1.7": DB}
DEAD, ALIVE, OTHER = KNOWN


def said(*answers: tuple[str, Answer]) -> dict[str, str]:
    healths = BackendHealths()
    healths.keep(KNOWN, {"west"})
    for ip, answer in answers:
        healths.answered(ip, KNOWN[ip], answer)
    return healths.gone()


SILENCE = [(DEAD, Answer.SILENT)] * FAILURES


def test_silence_counts_where_a_backend_of_the_same_service_has_let_us_in() -> None:
    assert said(*SILENCE) == {}
    assert said((OTHER, Answer.OPEN), *SILENCE) == {}
    assert said((ALIVE, Answer.OPEN), *SILENCE).keys() == {DEAD}
    assert said((DEAD, Answer.OPEN), *SILENCE).keys() == {DEAD}
    assert said((ALIVE, Answer.OPEN), *SILENCE[1:]) == {}


def test_a_closed_port_is_its_own_word() -> None:
    assert "port is closed" in said(*[(DEAD, Answer.CLOSED)] * FAILURES)[DEAD]


def test_who_could_not_be_asked_is_not_doubted() -> None:
    assert said((ALIVE, Answer.OPEN), *[(DEAD, Answer.NONE)] * 9) == {}


def test_some_answers_in_a_row_bring_it_back() -> None:
    lost = [(ALIVE, Answer.OPEN), *SILENCE]
    assert said(*lost, *[(DEAD, Answer.OPEN)] * (ANSWERS - 1)).keys() == {DEAD}
    assert said(*lost, *[(DEAD, Answer.OPEN)] * ANSWERS) == {}


def test_a_cluster_that_speaks_again_is_believed() -> None:
    healths = BackendHealths()
    healths.keep(KNOWN, {"west"})
    for ip, answer in [(ALIVE, Answer.OPEN), *SILENCE]:
        healths.answered(ip, KNOWN[ip], answer)
    healths.keep(KNOWN, set())
    assert (healths.gone(), dict(healths.asked)) == ({}, {})


def test_one_is_asked_while_all_is_well_until_it_has_answered() -> None:
    healths = BackendHealths()
    assert healths.unheard(KNOWN, set()) == {WEB.group: [DEAD, ALIVE], DB.group: [OTHER]}
    assert healths.unheard(KNOWN, {"west"}) == {}
    healths.answered(ALIVE, WEB, Answer.OPEN)
    assert healths.unheard(KNOWN, set()).keys() == {DB.group}
    healths.keep({OTHER: DB}, set())  # the service went, and what we knew of it
    assert healths.unheard(KNOWN, set()).keys() == {WEB.group, DB.group}


@given(st.lists(st.tuples(st.sampled_from(sorted(KNOWN)), st.sampled_from(Answer)), max_size=30))
def test_nothing_is_doubted_without_three_failures_at_the_end(answers: list[tuple[str, Answer]]) -> None:
    heard = {KNOWN[ip].group for ip, answer in answers if answer is Answer.OPEN}
    for ip in said(*answers):
        last = [answer for each, answer in answers if each == ip and answer is not Answer.NONE]
        failed = [answer in (Answer.SILENT, Answer.CLOSED) for answer in last]
        assert any(all(failed[at : at + FAILURES]) for at in range(len(failed) - FAILURES + 1))
        assert KNOWN[ip].group in heard or Answer.CLOSED in last


def test_a_backend_is_asked_at_its_lowest_tcp_port_and_one_without_for_an_echo() -> None:
    ports = {"a": Port("TCP", 9000), "b": Port("TCP", 80), "c": Port("UDP", 53)}
    told = {"10.2.1.5": ports, "10.2.1.6": {"c": Port("UDP", 53)}}
    service = GlobalService("west", "shop", "web", {}, told, cluster_id=ClusterID(2))
    found = targets([("shop/web", "west", service)])
    assert found == {"10.2.1.5": Target("west", "shop/web", 80), "10.2.1.6": Target("west", "shop/web", 0)}
    later = GlobalService("west", "shop", "db", {}, {"10.2.1.6": ports}, cluster_id=ClusterID(2))
    both = [("shop/web", "west", service), ("shop/db", "west", later)]
    assert targets(both)["10.2.1.6"] == Target("west", "shop/db", 80)
    assert targets(reversed(both))["10.2.1.6"] == Target("west", "shop/db", 80)


@pytest.mark.parametrize("by", [NODES, BACKENDS])
def test_doubts_of_two_sources_add_up(by: str) -> None:
    doubts = Withdrawals()
    other = BACKENDS if by == NODES else NODES
    assert doubts.doubt(frozenset("ab"), by) == {"a", "b"}
    assert doubts.doubt(frozenset("bc"), other) == {"c"}
    assert doubts.doubt(frozenset(), by) == {"a"}
    assert (doubts.all, "itself" in doubts.reason("b")) == ({"b", "c"}, other == BACKENDS)
