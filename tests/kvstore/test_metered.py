"""Requests are timed and counted, and their results passed on."""

from __future__ import annotations

from itertools import count

import pytest

from kvstore.backend import Backend, DeleteOp, PutOp
from kvstore.config import EtcdConfig
from kvstore.errors import TransientError, UnansweredError
from kvstore.memory import MemoryBackend
from kvstore.meter import Meter
from kvstore.metered import MeteredBackend, connecting
from tests.conftest import RunningEtcd

IP = b"cilium/state/ip/v1/default/"


def metered(backend: Backend) -> tuple[MeteredBackend, Meter]:
    meter, ticks = Meter(), count(0.0, 0.3)
    return MeteredBackend(backend, meter, clock=lambda: next(ticks)), meter


async def test_each_request_is_counted_by_ciliums_words(backend: Backend) -> None:
    store, meter = metered(backend)
    lease = await store.lease_grant(60)
    await store.put(IP + b"1", b"x", lease=lease)
    assert await store.txn([PutOp(IP + b"2", b"x"), DeleteOp(IP + b"3")])
    assert await store.txn([DeleteOp(IP + b"2")])
    pair = await store.get(IP + b"1")
    assert pair is not None and (pair.value, pair.lease) == (b"x", lease)
    assert [pair.key for pair in await store.get_prefix(IP)] == [IP + b"1"]
    assert await store.delete(IP + b"1")
    assert await store.delete_prefix(b"cilium/.heartbeat") == 0
    assert await store.lease_keepalive(lease) > 0
    await store.lease_revoke(lease)

    ip = [("set", "Set"), ("set", "Txn"), ("delete", "Txn"), ("read", "Get"), ("read", "ListPrefix")]
    expected = {("ip/v1", *each, "success") for each in [*ip, ("delete", "Delete")]}
    assert meter.operations.keys() == expected | {("cilium/.hear", "delete", "DeletePrefix", "success")}
    assert all(each.total == pytest.approx(0.3) for each in meter.operations.values())
    assert store.cluster_id == backend.cluster_id


async def test_a_watch_is_timed_by_how_long_its_reader_takes(backend: Backend) -> None:
    store, meter = metered(backend)
    await backend.txn([PutOp(IP + b"1", b"x"), PutOp(IP + b"2", b"x")])
    async with store.listwatch(IP) as events:
        await anext(events)  # the listing
        await anext(events)  # that it is complete
        await backend.txn([PutOp(IP + b"1", b"y"), DeleteOp(IP + b"2")])
        await anext(events)
        await backend.put(IP + b"1", b"z")
        await anext(events)
    counts = {labels: histogram.buckets()[-1][1] for labels, histogram in meter.handled.items()}
    assert counts == {("ip/v1", "create"): 2, ("ip/v1", "modify"): 1, ("ip/v1", "delete"): 1}


async def test_a_failure_is_counted_and_passed_on() -> None:
    memory = MemoryBackend()
    store, meter = metered(memory)
    memory.fail_reads(1)
    with pytest.raises(TransientError):
        await store.get(IP + b"1")
    assert meter.operations.keys() == {("ip/v1", "read", "Get", "fail")}
    assert not meter.quorum_errors


class Silent(MemoryBackend):
    """An etcd that lost its quorum."""

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> None:
        raise UnansweredError("etcdserver: request timed out")


async def test_an_etcd_that_does_not_answer_is_a_quorum_error() -> None:
    store, meter = metered(Silent())
    with pytest.raises(UnansweredError):
        await store.put(IP + b"1", b"x")
    assert meter.quorum_errors == {"timeout": 1}


async def test_a_timed_connection_still_says_how_it_is(etcd: RunningEtcd) -> None:
    meter = Meter()
    async with connecting(meter)(EtcdConfig((etcd.endpoint,))) as store:
        assert not store.status().connected
        await store.get(IP + b"1")
        assert store.status().connected and store.status().cluster_id == store.cluster_id
    assert ("ip/v1", "read", "Get", "success") in meter.operations
