"""Who is doubted by whom, who counts as lost, and what an earlier life had for clients outside."""

from __future__ import annotations

from dataclasses import replace

from agent import peerloss
from agent.recoveredbackends import RecoveredBackends
from agent.withdrawals import BACKENDS, NODES, Withdrawals
from mesh.addressing import ClusterID
from mesh.localservice import Frontend
from mesh.matching import Backend
from tests.agent.test_services import service

ONE, TWO = "10.2.1.5", "10.2.1.6"


def test_what_anybody_doubts_is_doubted_and_only_changes_are_told() -> None:
    withdrawals = Withdrawals()
    assert withdrawals.doubt(frozenset({ONE}), NODES) == {ONE}
    assert withdrawals.doubt(frozenset({ONE, TWO}), BACKENDS) == {TWO}
    assert withdrawals.all == {ONE, TWO}
    assert withdrawals.doubt(frozenset(), NODES) == frozenset()
    assert withdrawals.reason(ONE) == "it does not answer itself"
    assert withdrawals.doubt(frozenset({TWO}), BACKENDS) == {ONE}


def test_a_cluster_whose_name_is_not_known_counts_as_lost() -> None:
    assert peerloss.lost(None) == {""}


def test_what_the_kernel_had_for_clients_outside_is_for_them_alone() -> None:
    recovered, outside = RecoveredBackends(), Frontend("172.20.1.5", 80, "TCP", outside=True)
    recovered.replace({ClusterID(2): {outside: (Backend(ONE, 8080, "TCP", 2),)}})
    assert recovered.told(service()) == []
    (told,) = recovered.told(replace(service(), outside=True))
    assert told.backends.keys() == {ONE}
