"""The twin's faults on purpose; what it shares with etcd is in test_backend_contract."""

from __future__ import annotations

import pytest

from kvstore.backend import PutOp
from kvstore.errors import ClusterChangedError, CompactedError, TransientError
from kvstore.memory import MemoryBackend
from kvstore.memorystore import MAX_HISTORY, MemoryStore
from kvstore.watch import Listed


async def test_writes_fail_as_often_as_asked_and_change_nothing() -> None:
    backend = MemoryBackend()
    backend.fail_writes(2)
    for _ in range(2):
        with pytest.raises(TransientError):
            await backend.put(b"a", b"")
    assert backend.entries == {}
    await backend.put(b"a", b"")
    assert (backend.entries, backend.writes) == ({b"a": b""}, 1)


async def test_broken_streams_are_of_one_client_only() -> None:
    backend = MemoryBackend()
    other = backend.another_client()
    async with backend.listwatch(b"") as broken, other.listwatch(b"") as whole:
        for events in (broken, whole):
            while not isinstance(await anext(events), Listed):
                pass
        backend.break_streams()
        with pytest.raises(TransientError):
            await anext(broken)
        await other.put(b"a", b"")
        assert await anext(whole)


async def test_a_stream_that_lags_behind_a_compaction_ends() -> None:
    backend = MemoryBackend()
    async with backend.listwatch(b"") as events:
        while not isinstance(await anext(events), Listed):
            pass
        await backend.put(b"a", b"")
        backend.compact()
        with pytest.raises(CompactedError):
            await anext(events)


async def test_a_replaced_cluster_refuses_old_clients_and_is_empty_for_new_ones() -> None:
    backend = MemoryBackend()
    await backend.put(b"a", b"")
    backend.replace_cluster()
    fresh = backend.another_client()

    with pytest.raises(ClusterChangedError):
        await backend.get(b"a")
    assert await fresh.get(b"a") is None
    assert fresh.cluster_id != backend.cluster_id


def test_the_history_is_bounded() -> None:
    store = MemoryStore()
    for _ in range(MAX_HISTORY + 1):
        store.apply([PutOp(b"a", b"")])

    assert len(store.changes_since(store.revision - 5)) == 5
    with pytest.raises(CompactedError):
        store.changes_since(1)
