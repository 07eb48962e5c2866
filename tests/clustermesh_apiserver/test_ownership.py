"""The earliest living claimant of a key speaks for it, and the key goes with its last claimant."""

from hypothesis import given
from hypothesis import strategies as st

from clustermesh_apiserver.ownership import Ownership

OWNERS, KEYS = st.sampled_from("abc"), st.sampled_from([b"1", b"2"])
CLAIMS = st.lists(st.tuples(OWNERS, st.dictionaries(KEYS, st.binary(max_size=1))))


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


@given(CLAIMS)
def test_changes_lead_to_what_the_earliest_living_claimants_say(
    claims: list[tuple[str, dict[bytes, bytes]]],
) -> None:
    ownership = Ownership()
    stored: dict[bytes, bytes] = {}
    lines: dict[bytes, list[str]] = {}
    latest: dict[str, dict[bytes, bytes]] = {}
    for owner, pairs in claims:
        for key, value in ownership.claim(owner, pairs).items():
            if value is None:
                del stored[key]  # removing what is not there would fail
            else:
                assert stored.get(key) != value  # no needless write
                stored[key] = value
        for key in (b"1", b"2"):
            line = lines.setdefault(key, [])
            if key in pairs and owner not in line:
                line.append(owner)
            if key not in pairs and owner in line:
                line.remove(owner)
        latest[owner] = pairs
        assert stored == {key: latest[line[0]][key] for key, line in lines.items() if line}
        assert stored == ownership.pairs()
