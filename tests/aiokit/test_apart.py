"""What runs apart leaves no mark on its caller."""

from __future__ import annotations

import asyncio

import pytest

from aiokit.apart import apart


async def _fail() -> None:
    await asyncio.sleep(0)
    raise ValueError("on purpose")


async def _failing_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_fail(), name="failing")


async def test_the_result_is_handed_over_and_so_is_the_error() -> None:
    assert await apart(asyncio.sleep(0, "done"), "work") == "done"
    with pytest.raises(ValueError, match="on purpose"):
        await apart(_fail(), "work")


async def test_a_time_out_after_a_failed_group_is_still_a_time_out() -> None:
    with pytest.raises(ExceptionGroup):
        await apart(_failing_group(), "work")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()


async def test_a_cancelled_caller_waits_for_the_end_of_the_work() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("work")

    async with asyncio.TaskGroup() as group:
        caller = group.create_task(apart(work(), "work"), name="caller")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.wait([caller])
        assert caller.cancelled()
        assert ended == ["work"]


async def test_a_cancellation_is_not_lost_when_the_work_fails_at_the_same_time() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("on purpose") from None

    async with asyncio.TaskGroup() as group:
        caller = group.create_task(apart(stubborn(), "work"), name="caller")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.wait([caller])
        assert caller.cancelled()
