"""A writer whose leases ended is gone; what it wrote about is not."""

from __future__ import annotations

import math

import pytest

from aiokit.wait import eventually
from kvstore.backend import DeleteOp
from kvstore.memory import MemoryBackend
from mesh import keys
from mesh.keys import Kind
from peering.doubt import ALIVE_SECONDS, MANY, is_doubtful
from tests.agent.peerdata import KINDS, PeerData
from tests.agent.peering import Peering
from tests.agent.values import tables

ONE, TWO = b"a", b"b"


def test_a_few_of_many_are_believed_and_everything_of_a_writer_that_writes() -> None:
    assert not is_doubtful([ONE], [ONE, TWO], math.inf)
    assert not is_doubtful([ONE, TWO], [ONE, TWO], ALIVE_SECONDS)


@pytest.mark.parametrize(
    ("removes", "held"),
    [([ONE, TWO], [ONE, TWO]), ([bytes([i]) for i in range(MANY)], [bytes([i]) for i in range(100)])],
    ids=["the last of a kind", "many"],
)
def test_what_may_be_a_writer_s_end_is_doubted(removes: list[bytes], held: list[bytes]) -> None:
    assert is_doubtful(removes, held, ALIVE_SECONDS + 1)


async def lapse(store: MemoryBackend, data: PeerData) -> None:
    """All that a writer has, at one revision, as when its lease ends."""
    going = [data.prefix(kind) + suffix.encode() for kind, pairs in data.pairs().items() for suffix in pairs]
    going += [keys.synced_key(kind, data.name, cached=data.cached) for kind in KINDS if data.canaries]
    await store.txn([DeleteOp(key) for key in (*going, keys.cluster_config(data.name))])


@pytest.mark.parametrize(
    "data",
    [PeerData(), PeerData(cached=True), PeerData(canaries=False)],
    ids=["state", "cache", "no canaries"],
)
async def test_a_peer_whose_writer_s_lease_ended_keeps_its_entries_until_it_speaks_again(
    data: PeerData,
) -> None:
    store = MemoryBackend()
    peering = Peering(store, tables())
    await data.publish(store, kinds=KINDS if data.canaries else ())
    async with peering.running():
        await eventually(lambda: peering.is_ready)
        before = peering.entries
        await lapse(store, data)
        await eventually(lambda: not peering.is_ready)
        await eventually(lambda: len(peering.connections.clients) > 2)  # it dials again, and waits for a word
        assert peering.entries == before
        assert peering.tables.services.remotes("shop/web")["west"].backends.keys() == set(data.ips)
        fewer = PeerData(ips=data.ips[:1], cached=data.cached, canaries=data.canaries)
        await fewer.publish(store, kinds=KINDS if data.canaries else ())
        await eventually(lambda: peering.is_ready)
        assert before.keys() - peering.entries.keys() == {f"{data.ips[1]}/32"}


async def test_a_peer_that_removes_all_of_a_kind_by_itself_is_believed() -> None:
    data, store = PeerData(), MemoryBackend()
    peering = Peering(store, tables())
    await data.publish(store)
    async with peering.running():
        await eventually(lambda: peering.is_ready)
        await store.txn([DeleteOp(data.prefix(Kind.IPS) + ip.encode()) for ip in data.ips])
        await eventually(lambda: not any(f"{ip}/32" in peering.entries for ip in data.ips))
        assert peering.is_ready
        assert len(peering.connections.clients) == 1


async def test_a_look_that_fails_is_made_again() -> None:
    data, store = PeerData(), MemoryBackend()
    peering = Peering(store, tables())
    await data.publish(store)
    async with peering.running():
        await eventually(lambda: peering.is_ready)
        (client,) = peering.connections.clients
        client.fail_reads(2)
        await store.txn([DeleteOp(data.prefix(Kind.IPS) + ip.encode()) for ip in data.ips])
        await eventually(lambda: not any(f"{ip}/32" in peering.entries for ip in data.ips))
        assert len(peering.connections.clients) == 1
