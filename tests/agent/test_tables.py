"""Restart and removal: what is kept, and until when."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from agent.ipcache import IPCacheEntry, Level, Rank
from agent.peerstate import PeerState
from agent.policygroup import PolicyKey
from agent.tables import Tables
from kvstore.watch import Delta
from mesh.addressing import ClusterID, Identity
from mesh.localservice import Frontend, LocalService
from mesh.matching import Backend, ServicePort
from mesh.policy import parse_policy
from tests.agent.peerdata import KINDS, PeerData
from tests.agent.test_policy import policy
from tests.agent.values import endpoint, labels, number, scope, tables

WEST, NORTH = PeerData(), PeerData(name="north", id=3, node_ip="198.18.3.11", ips=("10.3.1.5",))
FRONT = Frontend("172.20.1.5", 80, "TCP")
FOUND = {
    "10.1.1.2/32": IPCacheEntry(number(1, 1), None),
    "10.2.1.5/32": IPCacheEntry(WEST.identity, WEST.node_ip),
    "10.2.1.99/32": IPCacheEntry(WEST.identity, WEST.node_ip),
    "10.3.1.5/32": IPCacheEntry(NORTH.identity, NORTH.node_ip),
    "198.18.2.11/32": IPCacheEntry(6, None),
}


class Restarted:
    """An agent that has just found `FOUND` in the kernel; its peers are in the configuration."""

    def __init__(self, *peers: PeerData) -> None:
        self.tables = tables()
        self.states = {data.name: PeerState(data.name, self.tables) for data in peers}
        self.tables.set_peer_listings(lambda: [(s.cluster_id, s.is_listed) for s in self.states.values()])
        self.tables.recover(FOUND, {FRONT: (Backend("10.2.1.5", 8080, "TCP", 2),)}, {}, {})

    def list_peer(self, data: PeerData) -> None:
        for kind, entries in data.pairs().items():
            pairs = [(suffix.encode(), value) for suffix, value in entries.items()]
            self.states[data.name].apply(kind, Delta(upserts=pairs), scope(data.name, data.id))
            self.states[data.name].listed(kind, ClusterID(data.id))

    def remove_peer(self, name: str) -> None:
        self.states.pop(name).drain()

    @property
    def prefixes(self) -> set[str]:
        return set(self.tables.ipcache.wanted.entries)


def test_everything_found_is_wanted_at_first() -> None:
    restarted = Restarted(WEST, NORTH)
    assert restarted.prefixes == set(FOUND)


def test_listing_kubernetes_lets_go_of_our_own_entries_only() -> None:
    restarted = Restarted(WEST, NORTH)
    restarted.tables.own_listed()
    assert restarted.prefixes == set(FOUND) - {"10.1.1.2/32"}


def test_a_listed_peer_loses_what_it_did_not_confirm_and_a_silent_one_nothing() -> None:
    restarted = Restarted(WEST, NORTH)
    restarted.tables.own_listed()
    restarted.list_peer(WEST)
    assert "10.2.1.5/32" in restarted.prefixes
    assert "10.2.1.99/32" not in restarted.prefixes
    assert "10.3.1.5/32" in restarted.prefixes


def test_a_silent_peer_that_is_removed_from_the_configuration_loses_its_entries() -> None:
    restarted = Restarted(WEST, NORTH)
    restarted.tables.own_listed()
    restarted.list_peer(WEST)
    restarted.remove_peer("north")
    assert restarted.prefixes == {"10.2.1.5/32", "10.2.1.6/32", "10.2.1.1/32", "198.18.2.11/32"}
    assert restarted.tables.recovered_sizes() == {"prefixes": 0, "policy": 0, "clusters": 0}


def test_backends_of_a_silent_peer_answer_until_it_is_listed() -> None:
    restarted = Restarted(WEST)
    service = LocalService(
        "shop", "web", {"service.cilium.io/global": "true"}, (FRONT.ip,), (ServicePort("http", "TCP", 80),)
    )
    restarted.tables.services.set_local("shop/web", service)
    restarted.tables.own_listed()
    assert restarted.tables.services.wanted.entries[FRONT] == (Backend("10.2.1.5", 8080, "TCP", 2),)
    restarted.list_peer(PeerData(ips=("10.2.1.77",)))
    assert restarted.tables.services.wanted.entries[FRONT] == (Backend("10.2.1.77", 8080, "TCP", 2),)


def test_policy_entries_of_vanished_endpoints_are_not_taken_over() -> None:
    world = tables()
    world.upsert_endpoint(endpoint(1))
    known, gone = PolicyKey(1, WEST.identity, 0, 0), PolicyKey(9, WEST.identity, 0, 0)
    own, reserved = PolicyKey(1, number(1, 3), 0, 0), PolicyKey(1, 1, 0, 0)
    world.recover({}, {}, {known: False, gone: False, own: False, reserved: False}, {})
    assert world.policies.entries.entries == {known: False}


def test_policy_entries_of_a_listed_peer_are_what_the_policies_say_again() -> None:
    restarted = Restarted()
    world = restarted.tables
    world.upsert_endpoint(endpoint(1))
    world.own_listed()
    restarted.states["west"] = PeerState("west", world)
    kept = PolicyKey(1, number(2, 99), 0, 0)
    world.recover({}, {}, {kept: False}, {})
    assert kept in world.policies.entries.entries
    restarted.list_peer(WEST)
    assert kept not in world.policies.entries.entries


def test_our_own_endpoint_outranks_every_other_claim_to_its_address() -> None:
    world = tables()
    world.upsert_endpoint(endpoint(1))
    world.ipcache.upsert(
        "10.1.1.2/32", Rank(Level.PEER_ENDPOINT, "west"), IPCacheEntry(WEST.identity, "192.0.2.9")
    )
    assert world.ipcache.wanted.entries["10.1.1.2/32"] == IPCacheEntry(number(1, 1), None)
    world.remove_endpoint(1)
    assert world.ipcache.wanted.entries["10.1.1.2/32"].identity == WEST.identity


def test_a_peer_cannot_take_what_an_earlier_life_knew_of_our_own_cluster() -> None:
    world = tables()
    pod, other_node = IPCacheEntry(number(1, 3), "198.18.1.12"), IPCacheEntry(6, None)
    found = {"10.1.2.6/32": pod, "198.18.1.12/32": other_node, "198.18.2.11/32": other_node}
    world.recover(found, {}, {}, {})
    for prefix in found:
        world.ipcache.upsert(prefix, Rank(Level.PEER_NODE, "west"), IPCacheEntry(WEST.identity, "192.0.2.9"))
    assert world.ipcache.wanted.entries == found
    world.ipcache.upsert("10.1.2.6/32", Rank(Level.LOCAL_ENDPOINT, owner="shop/a"), pod)
    world.ipcache.upsert("198.18.1.12/32", Rank(Level.LOCAL_NODE, owner="node/b"), other_node)
    world.own_listed()
    # what Kubernetes did not name was a peer's after all
    assert world.ipcache.wanted.entries == {
        **found,
        "198.18.2.11/32": IPCacheEntry(WEST.identity, "192.0.2.9"),
    }


EVENTS = st.permutations(["own", "west", "north"])


@given(EVENTS)
def test_in_whatever_order_they_speak_what_is_left_is_what_they_said(events: list[str]) -> None:
    restarted = Restarted(WEST, NORTH)
    for event in events:
        before = restarted.prefixes
        if event == "own":
            restarted.tables.own_listed()
        else:
            restarted.list_peer({"west": WEST, "north": NORTH}[event])
        for silent in set(events[events.index(event) + 1 :]) & {"west", "north"}:
            cluster = {"west": "10.2.", "north": "10.3."}[silent]
            theirs = {prefix for prefix in FOUND if prefix.startswith(cluster)}
            assert theirs & before <= restarted.prefixes
    told = {"10.2.1.5/32", "10.2.1.6/32", "10.2.1.1/32", "198.18.2.11/32"}
    assert restarted.prefixes == told | {"10.3.1.5/32", "10.3.1.1/32", "198.18.3.11/32"}


@given(st.lists(st.tuples(st.sampled_from(["west", "north"]), st.booleans()), max_size=8))
def test_draining_leaves_exactly_what_the_others_told(steps: list[tuple[str, bool]]) -> None:
    data = {"west": WEST, "north": NORTH}
    world = tables()
    states = {name: PeerState(name, world) for name in data}
    present: set[str] = set()
    for name, come in steps:
        if come:
            fill(states[name], data[name])
            present.add(name)
        else:
            states[name].drain()
            present.discard(name)
    fresh = tables()
    for name in sorted(present):
        fill(PeerState(name, fresh), data[name])
    assert world.ipcache.wanted.entries == fresh.ipcache.wanted.entries
    assert world.identities.all == fresh.identities.all
    assert world.services.remotes("shop/web") == fresh.services.remotes("shop/web")


def fill(state: PeerState, data: PeerData) -> None:
    for kind in KINDS:
        pairs = [(suffix.encode(), value) for suffix, value in data.pairs()[kind].items()]
        state.apply(kind, Delta(upserts=pairs), scope(data.name, data.id))


def test_a_drained_peer_is_not_listed_any_more() -> None:
    restarted = Restarted(WEST)
    restarted.list_peer(WEST)
    state = restarted.states["west"]
    assert state.is_listed
    assert state.listed_revision is not None
    state.drain()
    assert not state.is_listed
    assert state.listed_revision is None


def test_two_keys_for_one_prefix_are_two_claims() -> None:
    world = tables()
    state = PeerState("west", world)
    plain = WEST.pairs()[KINDS[2]]["10.2.1.5"]
    masked = plain.replace(b'"Mask":null', b'"Mask":"/////w=="')
    state.apply(KINDS[2], Delta(upserts=[(b"10.2.1.5", plain), (b"10.2.1.5/32", masked)]), scope())
    assert state.counts().endpoints == 2
    state.apply(KINDS[2], Delta(removes=[b"10.2.1.5/32"]), scope())
    assert list(world.ipcache.wanted.entries) == ["10.2.1.5/32"]


def test_the_clock_stands_still_when_nothing_changes() -> None:
    world: Tables = tables()
    world.upsert_endpoint(endpoint(1))
    before = world.clock.revision
    world.upsert_endpoint(endpoint(1))
    assert world.clock.revision == before


def test_a_new_endpoint_s_neighbours_know_its_identity_before_the_watch_does() -> None:
    world = tables()
    world.own_listed()
    world.policies.commit({"shop/p": parse_policy(policy(cluster="east"))})
    world.upsert_endpoint(endpoint(1, "web"))
    client = endpoint(2, "client")
    world.upsert_endpoint(client)
    assert PolicyKey(1, client.identity, 0, 0) in world.policies.entries.entries
    assert client.identity not in world.identities.own  # it is the watch that says which exist
    world.identities.commit({Identity(client.identity): labels("client")}, own=True)
    world.identities.commit({}, [Identity(client.identity)], own=True)
    assert PolicyKey(1, client.identity, 0, 0) not in world.policies.entries.entries


def test_an_endpoint_of_ours_is_known_at_both_its_addresses_and_at_none_when_it_ends() -> None:
    world = tables(dual_stack=True)
    member = msgspec.structs.replace(endpoint(1), ipv6="fd00:10:1:1::2")
    world.upsert_endpoint(member)
    entries = world.ipcache.wanted.entries
    assert entries["10.1.1.2/32"] == entries["fd00:10:1:1::2/128"] == IPCacheEntry(member.identity, None)
    world.upsert_endpoint(msgspec.structs.replace(member, ipv6=""))
    assert "fd00:10:1:1::2/128" not in world.ipcache.wanted.entries
    world.remove_endpoint(1)
    assert "10.1.1.2/32" not in world.ipcache.wanted.entries
