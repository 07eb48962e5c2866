"""Refusals add up by reason, and cannot fill our memory."""

from __future__ import annotations

from peering.refusals import MAX_REASON_LENGTH, MAX_REASONS, OTHER, Refusals, reason_of


def test_equal_faults_add_up_whatever_their_particulars() -> None:
    refusals = Refusals()
    assert refusals.add("ips: identity 131073 is outside the range of cluster west") is not None
    assert refusals.add("ips: identity 99 is outside the range of cluster west") is None
    assert refusals.counts == {"ips: identity N is outside the range of cluster west": 2}


def test_the_number_of_reasons_is_bounded() -> None:
    refusals = Refusals()
    for letter in range(1000):
        refusals.add("reason " + "x" * letter)
    assert len(refusals.counts) == MAX_REASONS + 1
    assert refusals.counts[OTHER] == 1000 - MAX_REASONS
    assert sum(refusals.counts.values()) == 1000


def test_a_reason_is_short_and_without_quoted_text() -> None:
    assert reason_of("name 'secret' at 10.0.0.1/32 is bad") == "name … at N is bad"
    assert len(reason_of("x" * 10_000)) == MAX_REASON_LENGTH
