"""Numbers of nodes: one a node, the same one for all of its addresses and over restarts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.desired import Clock
from agent.ipcache import Level, Rank
from agent.nodeids import LAST, NodeIDs
from mesh.addressing import ClusterID
from mesh.node import Node, NodeAddress

OWN = Rank(Level.OWN_NODE, owner="node/a")
LOCAL = Rank(Level.LOCAL_NODE, owner="node/b")
PEERS = tuple(Rank(Level.PEER_NODE, peer, name) for peer in ("north", "west") for name in ("n1", "n2"))


def node(*ips: str) -> Node:
    return Node("n", "c", ClusterID(1), tuple(NodeAddress("InternalIP", ip) for ip in ips))


def fresh(held: dict[str, int] | None = None) -> NodeIDs:
    ids = NodeIDs(Clock())
    if held is not None:
        ids.recover(held)
    return ids


def test_addresses_of_one_node_have_one_number_and_our_own_are_not_in_the_map() -> None:
    ids = fresh({})
    ids.claim(OWN, node("198.18.1.11"))
    ids.claim(LOCAL, node("198.18.1.12", "10.1.1.1"))
    ids.claim(PEERS[0], node("198.18.2.11"))
    assert dict(ids.wanted.entries) == {"198.18.1.12": 1, "10.1.1.1": 1, "198.18.2.11": 2}
    assert ids.all() == {0: ("198.18.1.11",), 1: ("198.18.1.12", "10.1.1.1"), 2: ("198.18.2.11",)}


def test_a_node_keeps_its_number_over_a_restart_also_with_other_addresses() -> None:
    ids = fresh({"198.18.1.12": 7, "10.1.1.1": 7, "198.18.2.11": 3})
    ids.claim(PEERS[1], node("198.18.2.12"))
    assert ids.wanted.entries["198.18.2.12"] not in (3, 7)
    ids.claim(LOCAL, node("10.1.1.1", "fd00::1"))
    assert ids.wanted.entries["fd00::1"] == 7
    assert ids.wanted.entries["198.18.2.11"] == 3, "its peer has not spoken"
    ids.everybody_spoke()
    assert set(ids.wanted.entries) == {"198.18.2.12", "10.1.1.1", "fd00::1"}


def test_who_spoke_before_the_map_was_read_gets_its_old_number() -> None:
    ids = fresh()
    ids.claim(PEERS[0], node("198.18.2.11"))
    ids.recover({"198.18.2.11": 40, "198.18.2.12": 41})
    assert dict(ids.wanted.entries) == {"198.18.2.11": 40, "198.18.2.12": 41}


def test_no_peer_takes_an_address_of_our_own_cluster() -> None:
    ids = fresh({})
    ids.claim(PEERS[0], node("198.18.1.12"))
    ids.claim(LOCAL, node("198.18.1.12"))
    ours = ids.wanted.entries["198.18.1.12"]
    assert ids.all()[ours] == ("198.18.1.12",)
    ids.claim(LOCAL, None)
    assert ids.wanted.entries["198.18.1.12"] not in (0, ours), "the peer's claim is still there"


def test_a_number_given_back_waits_for_its_turn_and_all_numbers_are_used() -> None:
    ids = fresh({})
    ids.claim(LOCAL, node("198.18.1.12"))
    ids.claim(LOCAL, None)
    ids.claim(LOCAL, node("198.18.1.12"))
    assert ids.wanted.entries["198.18.1.12"] == 2
    many = [Rank(Level.PEER_NODE, "west", str(each)) for each in range(LAST)]
    for at, rank in enumerate(many):
        ids.claim(rank, node(f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}"))
    assert sorted(ids.wanted.entries.values()) == list(range(1, LAST + 1))
    assert "10.0.255.254" not in ids.wanted.entries, "one node too many: it has none, nobody loses one"
    ids.claim(LOCAL, None)
    ids.claim(many[-1], node("10.0.255.254"))
    assert ids.wanted.entries["10.0.255.254"] == 2


CLAIMS = st.lists(
    st.tuples(
        st.sampled_from((LOCAL, *PEERS)),
        st.none() | st.sets(st.sampled_from([f"10.0.0.{last}" for last in range(1, 7)])),
    ),
    max_size=30,
)


@given(
    st.dictionaries(st.sampled_from([f"10.0.0.{last}" for last in range(1, 7)]), st.integers(1, 9)), CLAIMS
)
def test_after_any_claims_each_address_is_its_first_claimants(
    held: dict[str, int], claims: list[tuple[Rank, set[str] | None]]
) -> None:
    ids, told = fresh(held), dict[Rank, set[str]]()
    for rank, ips in claims:
        ids.claim(rank, None if ips is None else node(*sorted(ips)))
        told.pop(rank, None)
        if ips is not None:
            told[rank] = ips
    ids.everybody_spoke()
    first = {ip: min(rank for rank in told if ip in told[rank]) for ips in told.values() for ip in ips}
    assert set(ids.wanted.entries) == set(first)
    numbers: dict[int, set[Rank]] = {}
    for ip, number in ids.wanted.entries.items():
        numbers.setdefault(number, set()).add(first[ip])
    assert all(len(ranks) == 1 for ranks in numbers.values()), "two nodes with one number"
    ranks = [rank for each in numbers.values() for rank in each]
    assert len(ranks) == len(set(ranks)), "one node with two numbers"


def test_a_number_that_the_map_has_is_nobody_else_s_until_all_have_spoken() -> None:
    ids = fresh({"198.18.2.11": 1})
    ids.claim(LOCAL, node("198.18.1.12"))
    assert dict(ids.wanted.entries) == {"198.18.2.11": 1, "198.18.1.12": 2}


def test_two_nodes_that_had_been_one_have_two_numbers() -> None:
    ids = fresh({"198.18.1.12": 5, "198.18.1.13": 5})
    ids.claim(LOCAL, node("198.18.1.12"))
    ids.claim(PEERS[0], node("198.18.1.13"))
    assert dict(ids.wanted.entries) == {"198.18.1.12": 5, "198.18.1.13": 1}


def test_a_node_that_had_been_two_has_one_number_whenever_the_map_is_read() -> None:
    ids = fresh()
    ids.claim(LOCAL, node("198.18.1.12", "198.18.1.13"))
    ids.recover({"198.18.1.12": 5, "198.18.1.13": 6})
    assert dict(ids.wanted.entries) == {"198.18.1.12": 5, "198.18.1.13": 5}


def test_what_the_map_had_is_forgotten_once_all_have_spoken() -> None:
    ids = fresh({"198.18.1.12": 7})
    ids.everybody_spoke()
    ids.claim(LOCAL, node("198.18.1.12"))
    assert dict(ids.wanted.entries) == {"198.18.1.12": 1}
