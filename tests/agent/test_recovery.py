"""Who could still own what an earlier life left?"""

from __future__ import annotations

from agent.recovery import cluster_of, may_be_owned, silent
from mesh.addressing import ClusterID
from tests.agent.values import LAYOUT, number

EAST, WEST, NORTH = ClusterID(1), ClusterID(2), ClusterID(3)
NOBODY = frozenset[ClusterID]()


def test_everything_may_be_owned_before_anybody_has_spoken() -> None:
    who = silent(own_is_listed=False, configuration_is_read=False, peers=[])
    for cluster in (None, EAST, WEST):
        assert may_be_owned(cluster, who, EAST, NOBODY)


def test_our_own_entries_wait_for_kubernetes_alone() -> None:
    who = silent(own_is_listed=True, configuration_is_read=True, peers=[(None, False)])
    assert not may_be_owned(EAST, who, EAST, NOBODY)
    who = silent(own_is_listed=False, configuration_is_read=True, peers=[])
    assert may_be_owned(EAST, who, EAST, NOBODY)


def test_a_listed_peer_has_said_everything_while_another_has_not() -> None:
    who = silent(own_is_listed=True, configuration_is_read=True, peers=[(WEST, True), (NORTH, False)])
    assert not may_be_owned(WEST, who, EAST, frozenset({WEST}))
    assert may_be_owned(NORTH, who, EAST, frozenset({WEST}))
    assert may_be_owned(None, who, EAST, frozenset({WEST}))


def test_a_peer_of_unknown_id_may_own_anything_that_nobody_listed() -> None:
    who = silent(own_is_listed=True, configuration_is_read=True, peers=[(WEST, True), (None, False)])
    assert not may_be_owned(WEST, who, EAST, frozenset({WEST}))
    assert may_be_owned(NORTH, who, EAST, frozenset({WEST}))


def test_nobody_owns_what_a_removed_peer_left() -> None:
    who = silent(own_is_listed=True, configuration_is_read=True, peers=[(WEST, True)])
    assert not may_be_owned(NORTH, who, EAST, frozenset({WEST}))
    assert not may_be_owned(None, who, EAST, frozenset({WEST}))


def test_reserved_identities_belong_to_no_cluster() -> None:
    assert cluster_of(6, LAYOUT) is None
    assert cluster_of(number(2, 9), LAYOUT) == WEST
