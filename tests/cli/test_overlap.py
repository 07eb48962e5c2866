"""Overlapping CIDRs: as comparing each with each finds them."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_network

from hypothesis import given
from hypothesis import strategies as st

from cli.overlap import overlaps


@st.composite
def cidrs(draw: st.DrawFn) -> str:
    length = draw(st.integers(4, 12))  # few addresses, so that overlaps are common
    number = draw(st.integers(0, 2**length - 1)) << (32 - length)
    return str(IPv4Network((number, length)))


@given(st.lists(cidrs(), max_size=12), st.lists(cidrs(), max_size=12))
def test_finds_what_comparing_each_with_each_finds(ours: list[str], theirs: list[str]) -> None:
    expected = {(a, b) for a in ours for b in theirs if ip_network(a).overlaps(ip_network(b))}
    found = overlaps(ours, theirs)
    assert set(found) == expected
    assert len(found) == len(expected)


def test_the_families_do_not_meet_and_what_is_no_cidr_is_passed_over() -> None:
    assert overlaps(["0.0.0.0/0", "x", ""], ["::/0", "10.0.0.0/40"]) == []
    assert overlaps(["fd00::/16"], ["fd00:1::/32"]) == [("fd00::/16", "fd00:1::/32")]
