"""Who gets a turn, and when."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiokit.turns import Turns


def test_no_turns_at_all_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="nobody"):
        Turns(0)


async def test_a_flood_of_one_leaves_every_other_turn_to_another() -> None:
    turns, order = Turns(1), list[str]()

    async def work(name: str) -> None:
        async with turns.turn(name):
            order.append(name)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for index in range(10):
            group.create_task(work("flood"), name=f"flood {index}")
        await asyncio.sleep(0)
        for index in range(3):
            group.create_task(work("quiet"), name=f"quiet {index}")
    assert sorted(order) == ["flood"] * 10 + ["quiet"] * 3
    assert order.index("quiet") <= 3
    first = order.index("quiet")
    assert order[first : first + 5 : 2] == ["quiet"] * 3


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=30),
)
def test_never_more_at_once_than_allowed_and_cancelled_waiters_take_no_turn(
    limit: int, callers: list[tuple[str, bool]]
) -> None:
    async def live() -> tuple[int, int]:
        turns, inside, most, done = Turns(limit), 0, 0, 0

        async def work(name: str) -> None:
            nonlocal inside, most, done
            async with turns.turn(name):
                inside += 1
                most = max(most, inside)
                try:
                    await asyncio.sleep(0)
                    done += 1
                finally:
                    inside -= 1

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work(name), name=name) for name, _ in callers]
            await asyncio.sleep(0)
            for task, (_, is_cancelled) in zip(tasks, callers, strict=True):
                if is_cancelled:
                    task.cancel()
        async with asyncio.timeout(1):  # nobody took a turn away with them
            async with asyncio.TaskGroup() as again:
                for index in range(limit):
                    again.create_task(work(f"later {index}"), name=f"later {index}")
        return most, done

    most, done = asyncio.run(live())
    assert most <= limit
    assert done >= sum(not is_cancelled for _, is_cancelled in callers) + limit
