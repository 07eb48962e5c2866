"""The plan for `mesh.yaml`, over generated meshes: it ends, and it keeps to the file."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from certs import bundle
from certs.bundle import TrustBundle
from certs.issue import Authority
from cli import meshplan, peerfile, secret
from cli.facts import Address, ClusterFacts
from cli.members import telling, trusting
from cli.meshfile import MeshCluster, MeshFile
from cli.meshplan import Action, Change, Known
from cli.settings import MIRRORED_SECRET, PEERS_SECRET
from cli.target import Target
from mesh.keys import Kind
from peering.rules import EVERYTHING, Claims, See, render_see

NAMES = ("east", "west", "north", "south")
STRANGERS = ("gone", "other")
NOW = datetime(2026, 11, 1, tzinfo=UTC)
AUTHORITIES = [Authority.create(NOW, name=name).anchors for name in NAMES]
kinds = st.frozensets(st.sampled_from(Kind)) | st.just(EVERYTHING)
some_claims = st.sampled_from([Claims(), Claims(("10.1.0.0/16",)), Claims(namespaces=frozenset())])
addresses = st.integers(1, 3).map(lambda last: (Address(f"192.0.2.{last}", 2379),))


@dataclass(frozen=True)
class World:
    """A file, and its clusters as they are."""

    mesh: MeshFile
    known: Mapping[str, Known]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    own = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    clusters = {
        name: MeshCluster(
            name, number, context=name if name in own else "", bundle="" if name in own else "b"
        )
        for number, name in enumerate(names, 1)
    }
    for name in own:
        see = See(draw(st.dictionaries(st.sampled_from(NAMES), kinds, max_size=2)), draw(kinds))
        claims = draw(st.dictionaries(st.sampled_from(NAMES), some_claims, max_size=2))
        clusters[name] = replace(clusters[name], see=see, claims=claims)
    others = {name: [other for other in names if other != name] for name in own}
    reads = {
        name: tuple(draw(st.lists(st.sampled_from(others[name]), unique=True)) if others[name] else ())
        for name in own
    }
    known = {name: draw(clusters_as_they_are(name, is_own=name in own)) for name in names}
    return World(MeshFile(clusters, reads, draw(st.booleans())), known)


@st.composite
def clusters_as_they_are(draw: st.DrawFn, name: str, *, is_own: bool) -> Known:
    where = draw(addresses)
    trust = AUTHORITIES[NAMES.index(name)]
    facts = ClusterFacts(Target(context=name), name=name, addresses=where, trust=trust)
    if not is_own:
        return Known(facts)
    held = bundle.merge([trust, *draw(st.lists(st.sampled_from(AUTHORITIES), max_size=2))])
    leaves = {leaf: {secret.TRUST: held.pem} for leaf in secret.LEAVES}
    facts = replace(facts, kvstoremesh=draw(st.booleans()), leaves=leaves)
    told = draw(st.dictionaries(st.sampled_from([*NAMES, *STRANGERS]), addresses, max_size=4))
    told.pop(name, None)
    texts = {peer: peerfile.remote(peer, there) for peer, there in told.items()}
    files = peerfile.secrets(texts, facts.target.namespace, mirrored=draw(st.booleans()))
    kept = {each: dict(files.get(each, {})) for each in (MIRRORED_SECRET, PEERS_SECRET)}
    before = {"see.yaml": render_see(See(default=draw(kinds))), "claims.yaml": "peers: []"}
    users = draw(st.none() | st.frozensets(st.sampled_from([*NAMES, *STRANGERS])))
    return Known(facts, kept, draw(st.sampled_from([{}, before, {"claims.yaml": "["}])), users)


def applied(world: World, found: list[Change]) -> dict[str, Known]:
    """What `apply` would leave, by the bodies that it would send."""
    known = dict(world.known)
    for change in found:
        before = known[change.cluster]
        match change.action:
            case Action.ACCEPT:
                told = [each.facts.trust for each in world.known.values()]
                bodies = trusting(before.facts, told)
                leaves = {body["metadata"]["name"]: decoded(body) for body in bodies}
                known[change.cluster] = replace(before, facts=replace(before.facts, leaves=leaves))
            case Action.REMOVE:
                kept = {name: without(files, change.peer) for name, files in before.files.items()}
                known[change.cluster] = replace(before, files=kept)
            case Action.LET_IN | Action.SHUT_OUT:
                present, one = before.users or frozenset(), {change.peer}
                now = present | one if change.action is Action.LET_IN else present - one
                known[change.cluster] = replace(before, users=now)
            case Action.SEE | Action.CLAIM:
                said = meshplan.wanted_rules(world.mesh.clusters[change.cluster])
                known[change.cluster] = replace(before, rules=said)
            case _:
                files = {name: dict(content) for name, content in before.files.items()}
                for body in telling(before.facts, known[change.peer].facts):
                    texts = {key: value.decode() for key, value in decoded(body).items()}
                    files[body["metadata"]["name"]] |= texts
                known[change.cluster] = replace(before, files=files)
    return known


def decoded(body: Mapping[str, Any]) -> dict[str, bytes]:
    return {key: base64.b64decode(text) for key, text in body["data"].items()}


def without(files: Mapping[str, str], peer: str) -> dict[str, str]:
    return {name: text for name, text in files.items() if name != peer}


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_what_was_applied_leaves_nothing_to_plan(world: World) -> None:
    after = applied(world, meshplan.changes(world.mesh, world.known))
    assert meshplan.changes(world.mesh, after) == []


@given(worlds(), st.data())
@settings(max_examples=40, deadline=None)
def test_the_order_in_the_file_does_not_matter(world: World, data: st.DataObject) -> None:
    order = data.draw(st.permutations(list(world.mesh.clusters)))
    clusters = {name: world.mesh.clusters[name] for name in order}
    reads = {name: tuple(reversed(world.mesh.reads[name])) for name in order if name in world.mesh.reads}
    other = MeshFile(clusters, reads, world.mesh.share_authorities)
    known = {name: world.known[name] for name in order}
    here, there = meshplan.changes(world.mesh, world.known), meshplan.changes(other, known)
    assert sorted(here, key=str) == sorted(there, key=str)
    one, two = applied(world, here), applied(World(other, known), there)
    assert {name: one[name].files for name in one} == {name: two[name].files for name in two}
    assert {name: trusts(one[name]) for name in one} == {name: trusts(two[name]) for name in two}


def trusts(cluster: Known) -> list[frozenset[bytes]]:
    held: list[TrustBundle] = [bundle.parse(data[secret.TRUST]) for data in cluster.facts.leaves.values()]
    return [each.key_ids for each in held]


@given(worlds())
@settings(max_examples=40, deadline=None)
def test_only_clusters_that_the_file_leads_to_are_changed_and_nobody_strange_is_added(world: World) -> None:
    own = {name for name, each in world.mesh.clusters.items() if each.context}
    found = meshplan.changes(world.mesh, world.known)
    assert {change.cluster for change in found} <= own
    told = (Action.ACCEPT, Action.ADD, Action.CHANGE, Action.LET_IN)
    assert all(change.peer in world.mesh.clusters for change in found if change.action in told)
    after = applied(world, found)
    for name, each in after.items():
        if name in own:
            assert set(each.files[PEERS_SECRET]) == set(world.mesh.reads[name])
        else:
            assert each == world.known[name]
