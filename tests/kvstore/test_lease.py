from __future__ import annotations

import pytest

from aiokit.backoff import Backoff
from aiokit.wait import eventually
from kvstore.errors import TransientError
from kvstore.lease import LeasePool
from kvstore.memory import MemoryBackend


async def test_keys_share_a_lease_until_it_is_full_and_freed_places_are_used_again() -> None:
    pool = LeasePool(MemoryBackend(), keys_per_lease=2)
    first = await pool.lease_for(b"a")
    assert await pool.lease_for(b"b") == first
    second = await pool.lease_for(b"c")
    pool.release(b"a")

    assert second != first
    assert await pool.lease_for(b"c") == second
    assert {await pool.lease_for(b"d"), await pool.lease_for(b"e")} == {first, second}
    assert (pool.status().leases, pool.status().keys) == (2, 4)


async def test_a_lost_lease_is_reported_with_all_its_keys_and_replaced() -> None:
    backend, reported, also = MemoryBackend(), list[bytes](), list[bytes]()
    pool = LeasePool(backend, on_lost=reported.extend)
    lease = await pool.lease_for(b"a")
    await pool.lease_for(b"b")
    backend.expire(lease)
    with pool.reporting_losses(also.extend):
        await pool.check()

    assert reported == also == [b"a", b"b"]
    assert pool.bound_to(b"a") == 0
    assert await pool.lease_for(b"a") != lease
    assert pool.status().lost == 1


async def test_a_failed_refresh_loses_nothing() -> None:
    backend, reported = MemoryBackend(), list[bytes]()
    pool = LeasePool(backend, on_lost=reported.extend)
    lease = await pool.lease_for(b"a")
    backend.fail_writes(1)
    with pytest.raises(TransientError):
        await pool.check()

    assert reported == []
    assert await pool.lease_for(b"a") == lease


async def test_leases_are_refreshed_while_running_also_after_failures() -> None:
    backend, reported = MemoryBackend(), list[bytes]()
    pool = LeasePool(backend, on_lost=reported.extend, backoff=Backoff(0.01, 0.01), refresh_seconds=0.01)
    lease = await pool.lease_for(b"a")
    async with pool.running():
        backend.fail_writes(3)
        await eventually(lambda: not backend.is_failing)
        assert reported == []
        backend.expire(lease)
        await eventually(lambda: reported == [b"a"])


async def test_leases_of_an_earlier_life_are_refreshed_until_nobody_needs_them() -> None:
    backend = MemoryBackend()
    old = [await backend.lease_grant(60) for _ in range(3)]
    refreshed: list[int] = []
    keepalive = backend.lease_keepalive

    async def counting(lease: int) -> int:
        refreshed.append(lease)
        return await keepalive(lease)

    backend.lease_keepalive = counting  # type: ignore[method-assign]
    pool = LeasePool(backend)
    own = await pool.lease_for(b"a")
    await pool.inherit(b"one/", [0, own, *old[:2]])
    await pool.inherit(b"two/", old[1:])
    assert set(refreshed) == set(old)  # at once: they may be near their end
    refreshed.clear()
    await pool.inherit(b"one/", ())
    backend.expire(old[2])
    await pool.check()
    refreshed.clear()
    await pool.check()
    assert refreshed == [own, old[1]]
    assert pool.status().lost == 0  # what was lost of others is nobody's to write again
