"""When leaves are due."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from certs.renew import Life, is_due
from tests.certs.conftest import NOW

DAYS = st.integers(1, 4000).map(lambda days: timedelta(days=days))
YEAR = timedelta(days=365)


def due(leaf: Life, now: datetime, authority_ends: datetime = NOW + 20 * YEAR) -> bool:
    return is_due(leaf, now, authority_ends=authority_ends, validity=3 * YEAR)


def test_a_leaf_is_due_after_two_thirds_of_its_life_and_not_before() -> None:
    leaf = Life(NOW, NOW + 3 * YEAR)
    assert not due(leaf, NOW + 2 * YEAR - timedelta(seconds=1))
    assert due(leaf, NOW + 2 * YEAR)
    assert due(leaf, NOW + 4 * YEAR)


def test_a_new_leaf_that_would_end_with_its_authority_too_is_not_issued() -> None:
    leaf = Life(NOW, NOW + 3 * YEAR)
    assert not due(leaf, NOW + 2 * YEAR, authority_ends=leaf.ends)


@given(DAYS, DAYS, DAYS, DAYS)
def test_renewing_never_goes_on_for_ever(
    life: timedelta, validity: timedelta, authority: timedelta, age: timedelta
) -> None:
    now, authority_ends = NOW + age, NOW + authority
    if is_due(Life(NOW, NOW + life), now, authority_ends=authority_ends, validity=validity):
        renewed = Life(now, min(now + validity, authority_ends))
        assert not is_due(renewed, now, authority_ends=authority_ends, validity=validity)
