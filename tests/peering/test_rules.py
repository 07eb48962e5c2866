"""What a peer may see and claim, as files: what is written is what is read, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.keys import Kind
from peering import rules
from peering.peers import MARK
from peering.rules import Claims, RulesError, See

clusters = st.sampled_from(["west", "north", "a-1"])
kinds = st.frozensets(st.sampled_from(Kind))
networks = st.sampled_from(["10.1.0.0/16", "192.0.2.7/32", "fd00::/64"])
claims = st.builds(
    Claims,
    st.none() | st.lists(networks, max_size=3, unique=True).map(tuple),
    st.none() | st.frozensets(st.sampled_from(["shop", "a"])),
    st.sampled_from([None, "warn", "enforce"]),
)


@given(st.builds(See, st.dictionaries(clusters, kinds), kinds))
def test_see_is_read_as_it_was_written_and_is_no_peers_configuration(see: See) -> None:
    text = rules.render_see(see).encode()
    assert rules.parse_see(text) == see
    assert MARK not in text


@given(st.dictionaries(clusters, claims))
def test_claims_are_read_as_they_were_written(found: dict[str, Claims]) -> None:
    text = rules.render_claims(found).encode()
    assert rules.parse_claims(text) == found
    assert MARK not in text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"peers: [{name: west, claim: {addresses: [10.0.0.1/8]}}]", "host bits"),
        (b"peers: [{name: west, claim: {addresses: [west]}}]", "addresses"),
        (b"peers: [{name: west, claim: {addressCheck: off}}]", "addressCheck|Expected"),
        (b"peers: [{name: west, claim: {colour: red}}]", "colour"),
        (b"peers: [{name: W, claim: {}}]", "lower-case"),
        (b"peers: [{name: w, claim: {}}, {name: w, claim: {}}]", "twice"),
        (b"peers: []\npeers: []", "line 2"),
        (b"\xff", "unacceptable"),
        (b"[", "."),
    ],
)
def test_claims_that_are_none(text: bytes, reason: str) -> None:
    with pytest.raises(RulesError, match=reason):
        rules.parse_claims(text)
