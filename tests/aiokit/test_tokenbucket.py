"""A shared rate: so many at once, then so many a second, in the order they came."""

from __future__ import annotations

import asyncio

import pytest

from aiokit.tokenbucket import TokenBucket
from tests import virtual


async def turns(bucket: TokenBucket, count: int) -> list[tuple[int, float]]:
    """Who got through when, of `count` that came at once."""
    found: list[tuple[int, float]] = []

    async def one(number: int) -> None:
        await bucket.take()
        found.append((number, round(virtual.now(), 6)))

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number), name=f"taker {number}")
    return found


def test_a_crowd_gets_through_at_the_rate_in_the_order_it_came() -> None:
    found = virtual.run(turns(TokenBucket(2.0, 3), 7))
    assert found == [(0, 0.0), (1, 0.0), (2, 0.0), (3, 0.5), (4, 1.0), (5, 1.5), (6, 2.0)]


def test_what_was_not_used_is_saved_up_to_the_burst() -> None:
    async def rested() -> list[tuple[int, float]]:
        bucket = TokenBucket(2.0, 3)
        await turns(bucket, 3)
        await asyncio.sleep(100)
        return await turns(bucket, 4)

    assert [at for _, at in virtual.run(rested())] == [100.0, 100.0, 100.0, 100.5]


def test_a_changed_rate_counts_at_once() -> None:
    async def slowed() -> list[tuple[int, float]]:
        bucket = TokenBucket(1000.0, 1)
        await turns(bucket, 1)
        bucket.rate = 1.0
        return await turns(bucket, 2)

    assert [at for _, at in virtual.run(slowed())] == [1.0, 2.0]


def test_who_gives_up_waiting_costs_the_others_nothing() -> None:
    async def impatient() -> list[tuple[int, float]]:
        bucket = TokenBucket(1.0, 1)
        await bucket.take()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await bucket.take()
        return await turns(bucket, 1)

    assert virtual.run(impatient()) == [(0, 1.0)]


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1), (-1.0, 1), (1.0, 0)])
def test_a_bucket_that_lets_nobody_through_cannot_be_made(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="nobody"):
        TokenBucket(rate, burst)
