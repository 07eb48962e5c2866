"""The oldest living claimant of a key speaks for it, and the key goes with its last claimant."""

from hypothesis import given
from hypothesis import strategies as st

from clustermesh_apiserver.ownership import Ownership

OWNERS, KEYS = st.sampled_from("abc"), st.sampled_from([b"1", b"2"])
AGES = st.sampled_from(["", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])
CLAIMS = st.lists(st.tuples(OWNERS, AGES, st.dictionaries(KEYS, st.binary(max_size=1))))


def test_the_first_claimant_speaks_and_the_next_in_line_follows_it() -> None:
    ownership = Ownership()
    assert ownership.claim("a", {b"k": b"A"}) == {b"k": b"A"}
    assert ownership.claim("b", {b"k": b"B"}) == {}
    assert ownership.claim("c", {b"k": b"C"}) == {}
    assert ownership.contested() == 1
    assert ownership.release("a") == {b"k": b"B"}
    assert ownership.release("c") == {}
    assert ownership.release("b") == {b"k": None}
    assert ownership.pairs() == {}


def test_a_claimant_that_changes_its_value_keeps_its_place() -> None:
    ownership = Ownership()
    ownership.claim("a", {b"k": b"A"})
    ownership.claim("b", {b"k": b"B"})
    assert ownership.claim("b", {b"k": b"b"}) == {}
    assert ownership.claim("a", {b"k": b"a"}) == {b"k": b"a"}
    assert ownership.claim("a", {}) == {b"k": b"b"}


def test_an_older_claimant_that_comes_late_takes_over() -> None:
    ownership = Ownership()
    ownership.claim("a", {b"k": b"A"}, "2026-01-02T00:00:00Z")
    assert ownership.claim("b", {b"k": b"B"}, "2026-01-01T00:00:00Z") == {b"k": b"B"}
    assert ownership.claim("b", {b"k": b"B"}, "2026-01-03T00:00:00Z") == {b"k": b"A"}  # made anew
    assert ownership.contested() == 1


@given(CLAIMS)
def test_changes_lead_to_what_the_oldest_living_claimants_say(
    claims: list[tuple[str, str, dict[bytes, bytes]]],
) -> None:
    ownership = Ownership()
    stored: dict[bytes, bytes] = {}
    latest: dict[str, tuple[str, dict[bytes, bytes]]] = {}
    for owner, since, pairs in claims:
        for key, value in ownership.claim(owner, pairs, since).items():
            if value is None:
                del stored[key]  # removing what is not there would fail
            else:
                assert stored.get(key) != value  # no needless write
                stored[key] = value
        latest[owner] = (since, pairs)
        oldest_last = sorted(latest, key=lambda name: (latest[name][0], name), reverse=True)
        assert stored == {key: value for name in oldest_last for key, value in latest[name][1].items()}
        assert stored == ownership.pairs()
