"""Claims on prefixes: who wins, whatever the order."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from agent.desired import Clock
from agent.ipcache import IPCache, IPCacheEntry, Level, Rank, host_prefix, node_entries
from mesh.addressing import ClusterID
from mesh.node import Node, NodeAddress

PREFIXES = st.sampled_from(["10.0.0.1/32", "10.0.0.2/32", "fd00::1/128"])
RANKS = st.builds(Rank, st.sampled_from(Level), st.sampled_from(["", "west"]), st.sampled_from(["", "a"]))
ENTRIES = st.builds(IPCacheEntry, st.integers(1, 4), st.sampled_from([None, "192.0.2.1"]))
CLAIMS = st.dictionaries(st.tuples(PREFIXES, RANKS), ENTRIES)
OPERATIONS = st.lists(st.tuples(PREFIXES, RANKS, ENTRIES | st.none()), max_size=30)


def best(claims: dict[tuple[str, Rank], IPCacheEntry]) -> dict[str, IPCacheEntry]:
    """From scratch: the lowest rank of each prefix."""
    winners: dict[str, tuple[Rank, IPCacheEntry]] = {}
    for (prefix, rank), entry in claims.items():
        if prefix not in winners or rank < winners[prefix][0]:
            winners[prefix] = (rank, entry)
    return {prefix: entry for prefix, (_, entry) in winners.items()}


@given(OPERATIONS)
def test_after_any_operations_the_lowest_rank_of_each_prefix_is_wanted(
    operations: list[tuple[str, Rank, IPCacheEntry | None]],
) -> None:
    cache, claims = IPCache(Clock()), dict[tuple[str, Rank], IPCacheEntry]()
    for prefix, rank, entry in operations:
        if entry is None:
            cache.remove(prefix, rank)
            claims.pop((prefix, rank), None)
        else:
            cache.upsert(prefix, rank, entry)
            claims[prefix, rank] = entry
        assert cache.wanted.entries == best(claims)


@given(OPERATIONS)
def test_the_dirty_keys_are_enough_to_follow(
    operations: list[tuple[str, Rank, IPCacheEntry | None]],
) -> None:
    cache, copy = IPCache(Clock()), dict[str, IPCacheEntry]()
    for prefix, rank, entry in operations:
        if entry is None:
            cache.remove(prefix, rank)
        else:
            cache.upsert(prefix, rank, entry)
    for key in cache.wanted.take_dirty():
        if key in cache.wanted.entries:
            copy[key] = cache.wanted.entries[key]
    assert copy == cache.wanted.entries
    assert cache.wanted.take_dirty() == {}


@given(CLAIMS, st.randoms(use_true_random=False))
def test_the_order_of_claims_does_not_matter(
    claims: dict[tuple[str, Rank], IPCacheEntry], random: Random
) -> None:
    one, other = IPCache(Clock()), IPCache(Clock())
    items = list(claims.items())
    for (prefix, rank), entry in items:
        one.upsert(prefix, rank, entry)
    random.shuffle(items)
    for (prefix, rank), entry in items:
        other.upsert(prefix, rank, entry)
    assert one.wanted.entries == other.wanted.entries


@given(CLAIMS)
def test_local_knowledge_wins_over_every_peer(claims: dict[tuple[str, Rank], IPCacheEntry]) -> None:
    cache, own = IPCache(Clock()), IPCacheEntry(65541, None)
    cache.upsert("10.0.0.1/32", Rank(Level.LOCAL_ENDPOINT, owner="shop/web"), own)
    for (prefix, rank), entry in claims.items():
        if rank.level > Level.LOCAL_ENDPOINT:
            cache.upsert(prefix, rank, entry)
    assert cache.wanted.entries["10.0.0.1/32"] == own


def test_a_losing_claim_takes_over_when_the_winner_withdraws() -> None:
    cache = IPCache(Clock())
    west, own = Rank(Level.PEER_ENDPOINT, "west"), Rank(Level.LOCAL_ENDPOINT, owner="shop/web")
    cache.upsert("10.0.0.1/32", west, IPCacheEntry(131073, "192.0.2.2"))
    cache.upsert("10.0.0.1/32", own, IPCacheEntry(65541, None))
    cache.remove("10.0.0.1/32", own)
    assert cache.wanted.entries["10.0.0.1/32"].identity == 131073
    assert cache.rank_of("10.0.0.1/32") == west


def test_a_remote_node_is_remote_node_and_only_what_is_behind_it_is_tunnelled() -> None:
    node = Node(
        "n",
        "west",
        ClusterID(2),
        (NodeAddress("InternalIP", "192.0.2.2"), NodeAddress("CiliumInternalIP", "10.2.1.1")),
        ipv4_health_ip="10.2.1.9",
        ipv4_ingress_ip="10.2.1.8",
    )
    assert node_entries(node) == {
        "192.0.2.2/32": IPCacheEntry(6, None),
        "10.2.1.1/32": IPCacheEntry(6, "192.0.2.2"),
        "10.2.1.9/32": IPCacheEntry(4, "192.0.2.2"),
        "10.2.1.8/32": IPCacheEntry(8, "192.0.2.2"),
    }


def test_our_own_node_is_the_host_and_nothing_of_it_is_tunnelled() -> None:
    node = Node(
        "n", "east", ClusterID(1), (NodeAddress("InternalIP", "192.0.2.1"),), ipv4_health_ip="10.1.1.9"
    )
    assert node_entries(node, own=True) == {
        "192.0.2.1/32": IPCacheEntry(1, None),
        "10.1.1.9/32": IPCacheEntry(4, None),
    }


def test_a_health_endpoint_behind_no_address_is_not_taken_for_our_own() -> None:
    assert not node_entries(Node("n", "west", ClusterID(2), (), ipv4_health_ip="10.2.1.9"))


def test_an_address_is_the_prefix_of_itself() -> None:
    assert host_prefix("10.0.0.1") == "10.0.0.1/32"
    assert host_prefix("fd00::1") == "fd00::1/128"


@given(OPERATIONS, st.lists(st.tuples(RANKS, st.dictionaries(PREFIXES, ENTRIES)), max_size=4))
def test_many_claims_at_once_are_as_one_after_another(
    before: list[tuple[str, Rank, IPCacheEntry | None]], many: list[tuple[Rank, dict[str, IPCacheEntry]]]
) -> None:
    one, other = IPCache(Clock()), IPCache(Clock())
    for cache in (one, other):
        for prefix, rank, entry in before:
            cache.remove(prefix, rank) if entry is None else cache.upsert(prefix, rank, entry)
        cache.wanted.take_dirty()
    for rank, entries in many:
        one.upsert_all(rank, entries)
        for prefix, entry in entries.items():
            other.upsert(prefix, rank, entry)
            assert one.claim(prefix, rank) == entry
    assert one.wanted.entries == other.wanted.entries
    assert one.wanted.take_dirty() == other.wanted.take_dirty()


def test_only_what_is_behind_a_node_is_encrypted_with_its_key() -> None:
    addresses = (NodeAddress("InternalIP", "192.0.2.2"), NodeAddress("CiliumInternalIP", "10.2.1.1"))
    node = Node("n", "west", ClusterID(2), addresses, ipv4_health_ip="10.2.1.9", encryption_key=3)
    assert {ip: entry.encrypt_key for ip, entry in node_entries(node).items()} == {
        "192.0.2.2/32": 0,
        "10.2.1.1/32": 3,
        "10.2.1.9/32": 3,
    }
