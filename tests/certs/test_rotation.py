"""A rotation that is interrupted anywhere: everybody verifies everybody all the time, and it ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.rotation import Cluster, Leaf, Next, Record, RotationError, Step, next_step, record_of
from tests.certs.conftest import NOW

OLD, NEXT, FOREIGN = b"old", b"next", b"foreign"
SETTLE = timedelta(minutes=3)
LEAVES = ("server", "client")
MAX_ROUNDS = 12  # five steps and two waits, with room


class World:
    """Clusters' Secrets, and every version of a leaf that some process may still have in use."""

    def __init__(self, authorities: list[bytes]) -> None:
        everyone = frozenset(authorities)
        leaves = [dict.fromkeys(LEAVES, Leaf(signer, everyone)) for signer in authorities]
        self.clusters = [
            Cluster(f"c{number}", signer, leaves[number]) for number, signer in enumerate(authorities)
        ]
        self.now = NOW
        self.in_use: dict[tuple[int, str], list[tuple[datetime, Leaf]]] = {
            (number, name): [(NOW, leaf)]
            for number, cluster in enumerate(self.clusters)
            for name, leaf in cluster.leaves.items()
        }

    def let_pass(self, time: timedelta) -> None:
        """A version is out of use when a newer one has been there for `SETTLE`."""
        self.now += time
        for versions in self.in_use.values():
            while len(versions) > 1 and self.now - versions[1][0] >= SETTLE:
                versions.pop(0)

    def write_leaf(self, number: int, name: str, leaf: Leaf) -> None:
        cluster = self.clusters[number]
        if cluster.leaves[name] != leaf:
            self.clusters[number] = replace(cluster, leaves={**cluster.leaves, name: leaf})
            self.in_use[number, name].append((self.now, leaf))

    def check(self) -> None:
        """Any version of anybody's leaf is accepted under any version of anybody's bundle."""
        for one, other in product(self.in_use.values(), repeat=2):
            for (_, mine), (_, theirs) in product(one, other):
                assert mine.signer in theirs.trusts


@dataclass(frozen=True)
class Write:
    """One change to one Secret: a leaf's, or the cluster's own (record and authority)."""

    number: int
    leaf: str = ""


def writes(step: Step, world: World) -> list[Write]:
    """In the order in which they may not be swapped: see `apply`."""
    everywhere = [Write(number, leaf) for number in range(len(world.clusters)) for leaf in LEAVES]
    own = [Write(number) for number in range(len(world.clusters))]
    match step:
        case Step.PREPARE:
            return own
        case Step.FINISH:
            return own[::-1]  # the leader's record last: it has the moments
        case _:
            return [*everywhere, *own[::-1]]


def apply(world: World, write: Write, step: Step) -> None:
    record = record_of(world.clusters) or Record(OLD, NEXT)
    cluster = world.clusters[write.number]
    if write.leaf:
        leaf = cluster.leaves[write.leaf]
        match step:
            case Step.TRUST:
                leaf = replace(leaf, trusts=leaf.trusts | {record.next})
            case Step.REISSUE if leaf.signer == record.old:
                leaf = replace(leaf, signer=record.next)
            case Step.FORGET:
                leaf = replace(leaf, trusts=leaf.trusts - {record.old})
        world.write_leaf(write.number, write.leaf, leaf)
        return
    match step:
        case Step.PREPARE if cluster.record is None:
            cluster = replace(cluster, record=Record(record.old, record.next))
        case Step.TRUST if write.number == 0:
            cluster = replace(cluster, record=replace(record, trusted_at=world.now))
        case Step.REISSUE:
            signs = record.next if cluster.authority == record.old else cluster.authority
            reissued_at = world.now if write.number == 0 else None
            kept = replace(record, reissued_at=reissued_at) if write.number == 0 else cluster.record
            cluster = replace(cluster, authority=signs, record=kept)
        case Step.FINISH:
            cluster = replace(cluster, record=None)
    world.clusters[write.number] = cluster


AUTHORITIES = st.lists(st.sampled_from([OLD, FOREIGN]), max_size=2).map(lambda others: [OLD, *others])
# how far each run comes before it is killed, and how long until the next one
RUNS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 300)), max_size=10)


@given(AUTHORITIES, RUNS)
def test_everybody_verifies_everybody_in_every_state_and_the_rotation_ends(
    authorities: list[bytes], runs: list[tuple[int, int]]
) -> None:
    world = World(authorities)
    done = False
    for stop_after, seconds in [*runs, *[(99, 180)] * MAX_ROUNDS]:
        following = next_step(world.clusters, SETTLE)
        if following.is_ready(world.now):
            todo = writes(following.step, world)
            for write in todo[:stop_after]:
                apply(world, write, following.step)
                world.check()
            done = following.step is Step.FINISH and stop_after >= len(todo)
        if done:
            break
        world.let_pass(timedelta(seconds=seconds))
        world.check()
    assert done
    for before, cluster in zip(authorities, world.clusters, strict=True):
        wanted = NEXT if before == OLD else before
        assert cluster.authority == wanted
        assert cluster.record is None
        assert all(leaf.signer == wanted and OLD not in leaf.trusts for leaf in cluster.leaves.values())


def test_leaves_are_not_signed_anew_before_all_had_the_time_to_read_the_bundle() -> None:
    world = World([OLD, OLD])
    for _ in range(2):
        step = next_step(world.clusters, SETTLE).step
        for write in writes(step, world):
            apply(world, write, step)
    assert next_step(world.clusters, SETTLE) == Next(Step.REISSUE, world.now + SETTLE)


def test_a_cluster_that_joins_late_learns_to_accept_the_next_authority_first() -> None:
    both = frozenset({OLD, NEXT})
    leader = Cluster("east", OLD, {"server": Leaf(OLD, both)}, Record(OLD, NEXT, trusted_at=NOW))
    late = Cluster("west", FOREIGN, {"server": Leaf(FOREIGN, frozenset({OLD, FOREIGN}))})
    assert next_step([leader, late], SETTLE).step is Step.PREPARE
    assert next_step([leader, replace(late, record=Record(OLD, NEXT))], SETTLE).step is Step.TRUST


def test_two_rotations_at_once_are_refused() -> None:
    one = Cluster("east", OLD, {}, Record(OLD, NEXT))
    other = Cluster("west", OLD, {}, Record(OLD, b"another"))
    with pytest.raises(RotationError, match="east, west are in different rotations"):
        next_step([one, other], SETTLE)
