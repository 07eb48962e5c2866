"""Numbers for label sets in a real etcd, with several who want them at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from aiokit.wait import eventually
from clustermesh_apiserver.identities import Identities
from clustermesh_apiserver.identityplan import MASTERS, SLAVES, number_of
from kvstore.etcd import connect
from mesh.addressing import Identity
from mesh.allocation import candidates
from tests.clustermesh_apiserver import objects as o
from tests.clustermesh_apiserver.etcd import config, stored
from tests.conftest import RunningEtcd

TEXTS = [f"k8s:app=a{index};k8s:io.cilium.k8s.policy.cluster=east;" for index in range(40)]


def make(etcd: RunningEtcd, suffix: str, gc_seconds: float = 900.0) -> Identities:
    return Identities(
        lambda: connect(config(etcd)), o.EAST, suffix, lease_ttl_seconds=60, gc_seconds=gc_seconds
    )


@asynccontextmanager
async def allocating(identities: Identities) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(identities.run(), name="identities")
        yield
        task.cancel()


async def numbers_of(identities: Identities) -> dict[str, int]:
    """Once everything that is wanted has a number."""
    found: dict[str, int] = {}
    async with asyncio.timeout(30), aclosing(identities.follow()) as deltas:
        async for delta in deltas:
            found.update({text: int(item.metadata.name) for text, item in delta.upserts.items()})
            if delta.synced:
                break
    return found


async def test_a_label_set_has_one_number_whoever_asks_and_a_number_one_label_set(etcd: RunningEtcd) -> None:
    one, two = make(etcd, "node-1"), make(etcd, "node-2")
    one.want(TEXTS[:30])
    two.want(TEXTS[10:])
    async with allocating(one), allocating(two):
        first, second = await asyncio.gather(numbers_of(one), numbers_of(two))
        assert {text: first[text] for text in TEXTS[10:30]} == {text: second[text] for text in TEXTS[10:30]}
        both = first | second
        assert len(set(both.values())) == len(TEXTS)
        assert all(o.EAST.owns(number) for number in both.values())
        pairs = await stored(etcd)
    for text, number in both.items():
        master = pairs[MASTERS + str(number).encode()]
        assert (master.value.decode(), master.lease) == (text, 0)
    slave = pairs[SLAVES + f"{TEXTS[0]}/node-1".encode()]
    assert (slave.value, slave.lease != 0) == (str(both[TEXTS[0]]).encode(), True)


async def test_a_restarted_writer_finds_the_same_numbers(etcd: RunningEtcd) -> None:
    found = []
    for life in range(2):
        identities = make(etcd, f"life-{life}")
        identities.want(TEXTS[:5])
        async with allocating(identities):
            found.append(await numbers_of(identities))
    assert found[0] == found[1]


async def test_what_another_writer_has_allocated_is_taken_over(etcd: RunningEtcd) -> None:
    other = Identity(o.EAST.layout.minimum(o.EAST.cluster_id) + 77)
    async with connect(config(etcd)) as backend:
        await backend.put(MASTERS + str(other).encode(), TEXTS[0].encode())
        taken = next(candidates(o.EAST, TEXTS[1]))
        await backend.put(MASTERS + str(taken).encode(), b"k8s:app=somebody;")
    identities = make(etcd, "node-1")
    identities.want(TEXTS[:2])
    async with allocating(identities):
        found = await numbers_of(identities)
    assert found[TEXTS[0]] == other
    assert found[TEXTS[1]] not in (taken, other)


async def test_a_number_that_nobody_uses_any_more_is_free_after_two_looks(etcd: RunningEtcd) -> None:
    async with connect(config(etcd)) as backend:
        foreign = MASTERS + b"65537"  # another cluster's: not ours to judge
        await backend.put(foreign, b"k8s:app=foreign;")
    identities = make(etcd, "node-1", gc_seconds=0.2)
    identities.want(TEXTS[:2])
    async with allocating(identities):
        found = await numbers_of(identities)
        identities.want(TEXTS[:1])
        dropped, kept = (MASTERS + str(found[text]).encode() for text in (TEXTS[1], TEXTS[0]))

        async def is_gone() -> bool:
            return dropped not in await stored(etcd)

        await eventually(is_gone, 20, 0.1)
        assert {kept, foreign} <= (await stored(etcd)).keys()


async def test_an_emptied_etcd_gets_all_numbers_again(etcd: RunningEtcd) -> None:
    identities = make(etcd, "node-1")
    identities.want(TEXTS[:3])
    async with allocating(identities):
        await numbers_of(identities)
        etcd.restart(empty=True)

        async def is_there() -> bool:
            try:
                keys = (await stored(etcd)).keys()
            except Exception:  # noqa: BLE001 - it is just starting
                return False
            return sum(key.startswith(MASTERS) for key in keys) == 3

        await eventually(is_there, 30, 0.2)


@pytest.mark.parametrize("value", [b"", b"x", b"-5", b"1", b"65536", b"99999999999", b"16777216"])
def test_what_is_no_number_of_ours_is_none(value: bytes) -> None:
    assert number_of(value, o.EAST) is None
