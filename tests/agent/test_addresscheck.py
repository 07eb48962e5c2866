"""Addresses outside of a peer's own nodes: counted always, left out on demand, in whatever order told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.addresscheck import Mode
from agent.peerstate import PeerState
from agent.tables import Tables
from kvstore.watch import Delta
from mesh import node, service
from mesh.addressing import ClusterID
from mesh.keys import Kind
from mesh.node import Node
from mesh.service import GlobalService, Port
from tests.agent.peerdata import PeerData
from tests.agent.values import scope, tables

INSIDE, OUTSIDE = "10.2.1.5", "10.7.1.5"
DATA = PeerData(ips=(INSIDE, OUTSIDE))
ORDERS = [(Kind.NODES, Kind.IPS, Kind.SERVICES), (Kind.SERVICES, Kind.IPS, Kind.NODES)]


def tell(state: PeerState, kind: Kind, pairs: dict[str, bytes], removes: Iterable[str] = ()) -> None:
    upserts = [(suffix.encode(), value) for suffix, value in pairs.items()]
    state.apply(kind, Delta(upserts, [suffix.encode() for suffix in removes]), scope())


def told(world: Tables, mode: Mode, order: Sequence[Kind], data: PeerData = DATA) -> PeerState:
    state = PeerState("west", world, address_check=mode)
    for kind in order:
        tell(state, kind, data.pairs()[kind])
        state.listed(kind, ClusterID(2))
    return state


def backends(world: Tables) -> set[str]:
    return set(world.services.remotes("shop/web")["west"].backends)


@pytest.mark.parametrize("order", ORDERS)
def test_by_default_an_address_outside_is_counted_and_kept(order: Sequence[Kind]) -> None:
    world = tables()
    state = told(world, Mode.WARN, order)
    assert world.ipcache.wanted.entries.keys() >= {f"{INSIDE}/32", f"{OUTSIDE}/32"}
    assert backends(world) == {INSIDE, OUTSIDE}
    assert state.counts().outside == 2  # an address and a service
    assert sorted(state.counts().refusals.values()) == [1, 1]
    assert all(reason.endswith("(kept)") for reason in state.counts().refusals)


@pytest.mark.parametrize("order", ORDERS)
def test_enforced_it_is_left_out_and_what_is_inside_is_not(order: Sequence[Kind]) -> None:
    world = tables()
    state = told(world, Mode.ENFORCE, order)
    assert f"{INSIDE}/32" in world.ipcache.wanted.entries
    assert f"{OUTSIDE}/32" not in world.ipcache.wanted.entries
    assert backends(world) == {INSIDE}
    assert state.counts().outside == 2
    assert set(state.held(Kind.IPS)) == {INSIDE.encode(), OUTSIDE.encode()}  # for the next compare


def test_before_the_nodes_are_listed_nothing_is_judged() -> None:
    for mode, is_there in ((Mode.WARN, True), (Mode.ENFORCE, False)):
        world = tables()
        state = told(world, mode, (Kind.IPS, Kind.SERVICES))
        assert (f"{INSIDE}/32" in world.ipcache.wanted.entries) is is_there
        assert state.counts().outside == 0
        assert state.counts().refusals == {}


def test_a_node_that_comes_after_its_pods_brings_them_in() -> None:
    world = tables()
    state = told(world, Mode.ENFORCE, ORDERS[0])
    late = Node("node-2", "west", ClusterID(2), (), "10.7.1.0/24")
    tell(state, Kind.NODES, dict([node.encode(late)]))
    assert f"{OUTSIDE}/32" in world.ipcache.wanted.entries
    assert backends(world) == {INSIDE, OUTSIDE}
    assert state.counts().outside == 0
    tell(state, Kind.NODES, {}, removes=["node-2"])
    assert f"{OUTSIDE}/32" not in world.ipcache.wanted.entries
    assert backends(world) == {INSIDE}


def test_a_claim_is_counted_once_however_often_it_is_looked_at() -> None:
    state = told(tables(), Mode.WARN, ORDERS[0])
    for number in range(3):
        other = Node(f"other-{number}", "west", ClusterID(2), (), f"10.8.{number}.0/24")
        tell(state, Kind.NODES, dict([node.encode(other)]))
        tell(state, Kind.NODES, {}, removes=[other.name])
        tell(state, Kind.IPS, DATA.pairs()[Kind.IPS])
    assert sorted(state.counts().refusals.values()) == [1, 1]


def test_a_peer_whose_nodes_have_no_pod_cidrs_cannot_be_judged() -> None:
    bare = Node("node-1", "west", ClusterID(2), (), None)
    for mode, is_there in ((Mode.WARN, True), (Mode.ENFORCE, False)):
        world = tables()
        state = PeerState("west", world, address_check=mode)
        tell(state, Kind.NODES, dict([node.encode(bare)]))
        state.listed(Kind.NODES, ClusterID(2))
        tell(state, Kind.IPS, DATA.pairs()[Kind.IPS])
        assert (f"{INSIDE}/32" in world.ipcache.wanted.entries) is is_there
        assert bool(state.counts().refusals) is not is_there


def test_draining_forgets_what_was_held_back() -> None:
    world = tables()
    state = told(world, Mode.ENFORCE, ORDERS[0])
    state.drain()
    assert world.ipcache.wanted.entries == {}
    assert state.counts().outside == 0
    tell(state, Kind.NODES, dict([node.encode(Node("n", "west", ClusterID(2), (), "10.7.1.0/24"))]))
    state.listed(Kind.NODES, ClusterID(2))
    assert f"{OUTSIDE}/32" not in world.ipcache.wanted.entries


CIDRS = ("10.2.1.0/24", "10.2.0.0/16", "10.7.1.0/24")
POOL = tuple(f"10.{second}.1.{last}" for second in (2, 7, 8) for last in (1, 2))


@given(st.randoms(use_true_random=False), st.sampled_from(Mode))
def test_the_order_in_which_things_are_told_does_not_matter(random: Random, mode: Mode) -> None:
    world, nodes, ips = tables(), dict[str, str](), set[str]()
    state, listed = PeerState("west", world, address_check=mode), False
    said: dict[Kind, dict[str, bytes]] = {Kind.IPS: {}, Kind.SERVICES: {}}
    for _ in range(random.randrange(1, 25)):
        match random.randrange(4):
            case 0:
                name = f"node-{random.randrange(3)}"
                nodes[name] = random.choice(CIDRS)
                new = Node(name, "west", ClusterID(2), (), nodes[name])
                tell(state, Kind.NODES, dict([node.encode(new)]))
            case 1 if nodes:
                gone, _ = nodes.popitem()
                tell(state, Kind.NODES, {}, removes=[gone])
            case 2:
                ip = random.choice(POOL)
                ips.symmetric_difference_update({ip})
                pairs = PeerData(ips=(ip,)).pairs()[Kind.IPS]
                tell(state, Kind.IPS, pairs if ip in ips else {}, () if ip in ips else [ip])
                said[Kind.IPS] = dict(PeerData(ips=tuple(sorted(ips))).pairs()[Kind.IPS])
            case 3:
                listed = True
                state.listed(Kind.NODES, ClusterID(2))
        if random.random() < 0.3:
            value = GlobalService(
                "west", "shop", "web", {}, {ip: {"": Port("TCP", 1)} for ip in ips}, cluster_id=ClusterID(2)
            )
            said[Kind.SERVICES] = dict([service.encode(value)])
            tell(state, Kind.SERVICES, said[Kind.SERVICES])
    fresh_world = tables()
    fresh = PeerState("west", fresh_world, address_check=mode)
    all_nodes = [Node(name, "west", ClusterID(2), (), cidr) for name, cidr in nodes.items()]
    tell(fresh, Kind.NODES, dict(map(node.encode, all_nodes)))
    if listed:
        fresh.listed(Kind.NODES, ClusterID(2))
    for kind, pairs in said.items():
        tell(fresh, kind, pairs)
    assert world.ipcache.wanted.entries == fresh_world.ipcache.wanted.entries
    assert world.services.remotes("shop/web") == fresh_world.services.remotes("shop/web")
    assert state.counts().outside == fresh.counts().outside
