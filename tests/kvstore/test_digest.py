from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kvstore.digest import Digest
from kvstore.ledger import Ledger
from mesh.keys import Kind, cache_prefix, state_prefix

ENTRIES = st.dictionaries(st.binary(max_size=3), st.binary(max_size=3))


def of(entries: dict[bytes, bytes]) -> str:
    digest = Digest()
    for key, value in entries.items():
        digest.toggle(key, value)
    return str(digest)


def test_it_is_frozen() -> None:
    assert of({}) == "0000000000000000"
    assert of({b"10.3.1.44": b"{}"}) == "11c38c8722343832"


@given(ENTRIES, ENTRIES)
def test_it_tells_sets_apart_and_knows_no_order(one: dict[bytes, bytes], other: dict[bytes, bytes]) -> None:
    assert of(dict(reversed(one.items()))) == of(one)
    assert (of(one) == of(other)) == (one == other)


def test_what_goes_leaves_no_trace() -> None:
    digest = Digest()
    for _ in range(2):
        digest.toggle(b"a", b"1")
    assert str(digest) == of({})


def test_a_kvstoremesh_copy_has_the_digest_of_the_state_it_was_made_from() -> None:
    suffixes = {Kind.IPS: b"10.3.1.44/32", Kind.IDENTITIES: b"212345", Kind.SERVICES: b"shop/web"}
    for kind, suffix in suffixes.items():
        state, cache = (prefix(kind, "east") for prefix in (state_prefix, cache_prefix))
        assert state != cache
        pairs = {state + suffix: b"v"}, {cache + suffix: b"v"}
        digests = {
            of({key[len(prefix) :]: value for key, value in entries.items()})
            for prefix, entries in zip((state, cache), pairs, strict=True)
        }
        assert digests == {of({suffix: b"v"})}


def test_a_ledger_says_nothing_of_its_digest_until_it_is_computed() -> None:
    ledger = Ledger()
    ledger.upsert(b"a", b"1")
    [step] = ledger.take(1, 100)
    ledger.done(step, 7)
    assert ledger.digest == ""
    assert not ledger.digest_some(10)
    assert ledger.digest == of({b"a": b"1"})
