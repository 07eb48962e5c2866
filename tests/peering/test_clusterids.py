"""One cluster id, one peer."""

from __future__ import annotations

from peering.clusterids import ClusterIDs


def test_an_id_in_use_is_taken_for_everybody_else() -> None:
    ids = ClusterIDs(now=lambda: 0.0)
    ids.reserve(2, "west")
    assert ids.taken("north") == {2: "west"}
    assert ids.taken("west") == {}


def test_a_released_id_rests_before_another_may_have_it() -> None:
    now = 0.0
    ids = ClusterIDs(now=lambda: now, hold_down=10.0)
    ids.reserve(2, "west")
    ids.release("west")
    assert ids.taken("north") == {2: "west"}
    assert ids.taken("west") == {}
    now = 10.5
    assert ids.taken("north") == {}


def test_reserving_another_id_gives_the_first_one_up() -> None:
    ids = ClusterIDs(now=lambda: 0.0, hold_down=0.0)
    ids.reserve(2, "west")
    ids.reserve(9, "west")
    assert ids.held_by("west") == 9
    assert ids.taken("north") == {9: "west"}
