"""What a peer may claim by this cluster's word: from the first moment on, and whenever that word changes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.addresscheck import CLAIM_BACKEND, CLAIM_HOST, CLAIM_IP, CLAIM_NAMESPACE, CLAIM_NODE, Mode
from agent.peerstate import PeerState
from agent.tables import Tables
from aiokit.wait import eventually
from mesh.addressing import ClusterID
from mesh.keys import Kind
from peering.claimsfile import UNUSABLE, ClaimsFile
from peering.rules import CLAIMS_FILE, Claims, render_claims
from tests.agent.peerdata import FILE
from tests.agent.test_addresscheck import DATA, INSIDE, ORDERS, OUTSIDE, backends, tell
from tests.agent.values import tables
from tests.peering.test_peers import WEST, Directory

PODS, NODE = "10.2.0.0/16", "198.18.2.0/24"
MAY = Claims((PODS, NODE))
SOME = st.sampled_from(
    [
        *(Claims(), MAY, Claims(()), Claims((PODS,)), Claims(("10.0.0.0/8", NODE))),
        *(replace(MAY, namespaces=frozenset({"shop"})), Claims(namespaces=frozenset())),
        *(Claims(address_check="enforce"), replace(MAY, address_check="warn"), Claims(("fd00::/64",))),
    ]
)


def told(
    claims: Claims, *, mode: Mode = Mode.WARN, order: Sequence[Kind] = ORDERS[0]
) -> tuple[Tables, PeerState]:
    world = tables()
    state = PeerState("west", world, address_check=mode, claims=claims)
    for kind in order:
        tell(state, kind, DATA.pairs()[kind])
        state.listed(kind, ClusterID(2))
    return world, state


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_outside_is_left_out_in_every_mode_and_counted(order: Sequence[Kind]) -> None:
    world, state = told(MAY, order=order)
    assert f"{INSIDE}/32" in world.ipcache.wanted.entries
    assert f"{OUTSIDE}/32" not in world.ipcache.wanted.entries
    assert backends(world) == {INSIDE}
    assert state.counts().refusals == {CLAIM_IP: 1, CLAIM_BACKEND: 1}
    assert state.counts().outside == 2


def test_nothing_outside_counts_before_the_nodes_are_listed_either() -> None:
    world = tables()
    state = PeerState("west", world, claims=MAY)
    for kind in (Kind.IPS, Kind.SERVICES):
        tell(state, kind, DATA.pairs()[kind])
    assert f"{OUTSIDE}/32" not in world.ipcache.wanted.entries
    assert f"{INSIDE}/32" in world.ipcache.wanted.entries
    assert backends(world) == {INSIDE}


def test_a_node_with_an_address_outside_is_none_and_brings_nothing_in() -> None:
    world, state = told(Claims((PODS,)), mode=Mode.ENFORCE)
    assert state.nodes == {}
    assert not world.ipcache.wanted.entries
    assert state.counts().refusals[CLAIM_NODE] == 1


def test_an_address_behind_a_node_that_may_not_be_claimed_is_left_out() -> None:
    """Or a peer could have this cluster's packets sent to whomever it likes."""
    world = tables()
    for claims in (Claims((PODS,)), Claims()):
        state = PeerState("west", world, claims=claims)
        tell(state, Kind.IPS, DATA.pairs()[Kind.IPS])
        assert (f"{INSIDE}/32" in world.ipcache.wanted.entries) is (claims == Claims())
    state.restrict_to(Claims((PODS,)))
    assert f"{INSIDE}/32" not in world.ipcache.wanted.entries
    assert state.counts().refusals[CLAIM_HOST] == 1
    state.restrict_to(MAY)
    assert f"{INSIDE}/32" in world.ipcache.wanted.entries


def test_services_of_other_namespaces_get_no_backends() -> None:
    world, state = told(Claims(namespaces=frozenset({"bank"})))
    assert backends(world) == set()
    assert state.counts().refusals[CLAIM_NAMESPACE] == 1
    state.restrict_to(Claims(namespaces=frozenset({"shop"})))
    assert backends(world) == {INSIDE, OUTSIDE}


def test_the_mode_of_one_peer_can_be_stricter_than_that_of_all() -> None:
    world, _ = told(Claims(address_check="enforce"))
    assert backends(world) == {INSIDE}


@given(st.lists(SOME, min_size=1, max_size=4), st.sampled_from(Mode), st.sampled_from(ORDERS))
def test_a_change_leaves_what_the_last_word_alone_would_have(
    words: list[Claims], mode: Mode, order: Sequence[Kind]
) -> None:
    world, state = told(words[0], mode=mode, order=order)
    for claims in words[1:]:
        state.restrict_to(claims)
    fresh_world, fresh = told(words[-1], mode=mode, order=order)
    assert world.ipcache.wanted.entries == fresh_world.ipcache.wanted.entries
    assert world.services.remotes("shop/web") == fresh_world.services.remotes("shop/web")
    assert state.nodes == fresh.nodes
    assert state.counts().outside == fresh.counts().outside
    state.drain()
    assert world.ipcache.wanted.entries == {}


def test_a_file_that_cannot_be_used_is_said_of_each_peer_until_it_can() -> None:
    state = PeerState("west", tables(), claims=MAY)
    state.refused(CLAIMS_FILE, UNUSABLE)
    assert state.counts().refused_now == {UNUSABLE: 1}
    state.restrict_to(MAY)
    assert (state.counts().refused_now, state.counts().refusals) == ({}, {UNUSABLE: 1})


class Heard:
    def __init__(self) -> None:
        self.changes = 0
        self.refused: list[str] = []
        self.file = ClaimsFile(self._changed, lambda _file, reason: self.refused.append(reason))

    def _changed(self) -> None:
        self.changes += 1


def written(claims: Claims) -> dict[str, bytes]:
    return {"claims.yaml": render_claims({"west": claims}).encode(), "west": FILE}


def test_a_bad_file_keeps_the_last_good_one_and_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    heard = Heard()
    assert heard.file.read(written(MAY))
    for bad in ({"claims.yaml": b"peers: [{name: west, claims: {}}]"}, {}):
        assert heard.file.read(bad)
        assert heard.file.of("west") == MAY
        assert heard.file.problem
    assert heard.refused == [UNUSABLE, UNUSABLE]
    assert heard.changes == 1
    assert heard.file.read(written(MAY))  # as before; who tells of the trouble must hear that it is over
    assert (heard.file.problem, heard.changes) == ("", 2)
    assert heard.file.read(written(MAY))
    assert heard.changes == 2
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 2
    assert heard.file.read(written(Claims()))
    assert (heard.file.of("west"), heard.file.problem, heard.changes) == (Claims(), "", 3)


def test_without_a_file_everybody_may_claim_what_is_its_own() -> None:
    heard = Heard()
    assert heard.file.read({"west": FILE})
    assert (heard.file.of("west"), heard.file.problem, heard.refused) == (Claims(), "", [])


async def test_no_peer_is_followed_before_it_is_known_what_it_may_claim(tmp_path: Path) -> None:
    directory, heard = Directory(tmp_path), Heard()
    directory.peers._rules = heard.file.read
    await WEST.publish(directory.stores["west"])
    (tmp_path / "claims.yaml").write_bytes(b"nonsense")
    (tmp_path / "west").write_bytes(FILE)
    async with directory.running():
        await eventually(lambda: bool(heard.refused))
        assert (directory.peers.is_read, directory.peerings) == (False, {})
        (tmp_path / "claims.yaml").write_bytes(written(MAY)["claims.yaml"])
        await eventually(lambda: directory.is_ready("west"))
