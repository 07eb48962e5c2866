"""Bytes in, admitted values out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kvstore.watch import Delta
from mesh.addressing import PeerScope
from mesh.errors import DecodeError
from peering.imports import Import
from tests.agent.values import scope


def decode(suffix: str, value: bytes) -> int:
    if not value.isdigit():
        raise DecodeError(suffix, "not a number")
    return int(value)


def admit(value: int, within: PeerScope) -> int:
    if value > 5:
        raise DecodeError(str(value), "too big")
    return value


def make() -> Import[int]:
    return Import(decode, admit)


def test_a_refused_value_leaves_the_previous_one_held() -> None:
    held = make()
    held.apply(Delta(upserts=[(b"a", b"1")]), scope())
    result = held.apply(Delta(upserts=[(b"a", b"9"), (b"b", b"x")]), scope())
    assert [error.reason for error in result.refusals] == ["too big", "not a number"]
    assert set(held) == {b"a"}
    assert held.holds(b"a", b"1")
    assert not held.holds(b"a", b"9")


def test_removing_what_was_only_ever_refused_is_no_removal() -> None:
    held = make()
    held.apply(Delta(upserts=[(b"a", b"x")]), scope())
    assert held.apply(Delta(removes=[b"a"]), scope()).removes == []


PAIRS = st.dictionaries(st.sampled_from([b"a", b"b", b"c"]), st.sampled_from([b"1", b"2", b"x"]))


@given(st.lists(st.tuples(PAIRS, st.sets(st.sampled_from([b"a", b"b", b"c"]))), max_size=6))
def test_the_digest_depends_on_what_is_held_alone(steps: list[tuple[dict[bytes, bytes], set[bytes]]]) -> None:
    held, kept = make(), dict[bytes, bytes]()
    for upserts, removes in steps:
        held.apply(Delta(upserts=list(upserts.items())), scope())
        held.apply(Delta(removes=sorted(removes)), scope())
        kept |= {key: value for key, value in upserts.items() if value != b"x"}
        kept = {key: value for key, value in kept.items() if key not in removes}
    fresh = make()
    fresh.apply(Delta(upserts=list(kept.items())), scope())
    assert set(held) == kept.keys()
    assert held.digest == fresh.digest
    held.drain()
    assert held.digest == make().digest
    assert not len(held)
