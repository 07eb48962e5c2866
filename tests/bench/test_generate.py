"""The clusters that are measured are such as this project's own readers take, and as large as they say."""

from __future__ import annotations

from pathlib import Path

import grpc.aio
import pytest

from bench.cluster import KINDS, Cluster, Shape, shape_of
from bench.generate import Churn, fill
from bench.store import running_store
from kvstore import messages as m
from kvstore.methods import RANGE
from mesh import keys
from mesh.dump import Examined, examine
from mesh.keys import Kind

SMALL = Shape(endpoints=300, nodes=4, identities=10, services=3, backends=2)


def test_every_pair_is_read_as_it_was_written() -> None:
    cluster = Cluster("west", 2, SMALL)
    pairs = [pair for kind in KINDS for pair in cluster.pairs(kind)]
    assert len(dict(pairs)) == SMALL.total
    assert all(examine(key, value) == Examined(is_identical=True) for key, value in pairs)


def test_a_shape_that_does_not_fit_on_its_nodes_is_refused() -> None:
    with pytest.raises(ValueError, match="give more nodes"):
        Shape(endpoints=1000, nodes=1)
    assert shape_of(500_000).nodes == 2000


async def test_a_cluster_is_written_completely_and_then_changes(tmp_path: Path) -> None:
    cluster = Cluster("west", 2, SMALL)
    async with running_store(tmp_path) as store:
        await fill(store.address, cluster, 1000, 0.02)
        churn = Churn(cluster)
        async with grpc.aio.insecure_channel(store.address) as channel:
            await churn.run(channel, 1000, 10)
        call = store.channel.unary_unary(
            RANGE.path, RANGE.request.SerializeToString, RANGE.response.FromString
        )
        ips = keys.state_prefix(Kind.IPS, "west")
        answer = await call(m.RangeRequest(key=ips, range_end=ips[:-1] + b"0", count_only=True))
        canary = await call(m.RangeRequest(key=keys.synced_key(Kind.IPS, "west")))
    assert answer.count == SMALL.endpoints - 10  # every other of the 20 changes before let a pod go
    assert canary.count == 1
    assert len(churn.puts) == 10
    assert all(put.stored > put.sent for put in churn.puts.values())
