"""What a peer's etcd has that we do not take is said as long as it has it; the counter stays."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from aiokit.wait import eventually
from kvstore import etcd as etcd_client
from kvstore.backend import Backend
from kvstore.config import EtcdConfig
from mesh import keys
from mesh.keys import Kind
from tests.agent.peerdata import PeerData
from tests.agent.peering import Peering
from tests.agent.values import tables
from tests.conftest import RunningEtcd

WEST = PeerData()
CONFIG = keys.cluster_config("west")
INSIDE, GARBAGE = b"10.2.1.5", b"no json"


@pytest.fixture
async def store(etcd: RunningEtcd) -> AsyncIterator[Backend]:
    async with etcd_client.connect(EtcdConfig((etcd.endpoint,))) as backend:
        await WEST.publish(backend)
        yield backend


def made(etcd: RunningEtcd) -> Peering:
    return Peering(None, tables(), connect=etcd_client.connect)  # type: ignore[arg-type] # no store in memory


def content(etcd: RunningEtcd) -> bytes:
    return f"endpoints: [http://{etcd.endpoint}]\n".encode()


async def test_a_refusal_goes_with_its_entry_and_with_a_good_value(etcd: RunningEtcd, store: Backend) -> None:
    peering, prefix = made(etcd), WEST.prefix(Kind.IPS)
    state = peering.state
    async with peering.running(content(etcd)):
        await eventually(lambda: peering.is_ready)
        await store.put(prefix + INSIDE, GARBAGE)
        await store.put(prefix + b"10.2.1.77", GARBAGE)
        await eventually(lambda: sum(state.counts().refused_now.values()) == 2)
        await store.delete(prefix + b"10.2.1.77")
        await store.put(prefix + INSIDE, WEST.pairs()[Kind.IPS][INSIDE.decode()])
        await eventually(lambda: state.counts().refused_now == {})
        assert sum(state.counts().refusals.values()) == 2
        assert "10.2.1.5/32" in peering.entries


async def test_a_refusal_goes_also_when_its_entry_went_while_we_were_away(
    etcd: RunningEtcd, store: Backend
) -> None:
    peering, key = made(etcd), WEST.prefix(Kind.IPS) + b"10.2.1.77"
    await store.put(key, GARBAGE)
    async with peering.running(content(etcd)):
        await eventually(lambda: sum(peering.state.counts().refused_now.values()) == 1)
    await store.delete(key)
    async with peering.running(content(etcd)):
        await eventually(lambda: peering.state.counts().refused_now == {})


async def test_a_refused_configuration_is_said_until_it_is_a_good_one(
    etcd: RunningEtcd, store: Backend
) -> None:
    peering = made(etcd)
    await store.put(CONFIG, WEST.config(id=1))
    async with peering.running(content(etcd)):
        await eventually(lambda: any("cluster-config" in each for each in peering.state.counts().refused_now))
        await store.put(CONFIG, WEST.config())
        await eventually(lambda: peering.is_ready)
        assert peering.state.counts().refused_now == {}
