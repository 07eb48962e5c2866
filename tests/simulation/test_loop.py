"""The loop that the simulation runs on."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from tests.simulation.loop import DeadlockError, LivelockError, run


def test_time_passes_only_by_jumping_to_the_next_timer() -> None:
    async def main() -> float:
        await asyncio.sleep(86_400.0 * 30)
        return asyncio.get_running_loop().time()

    began = time.perf_counter()
    assert run(main, 0) == pytest.approx(86_400.0 * 30)
    assert time.perf_counter() - began < 5.0


def test_timers_fire_in_their_order_and_work_for_threads_is_done_inline() -> None:
    order: list[str] = []

    async def after(seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        order.append(await asyncio.to_thread(str.upper, name))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for seconds, name in ((3.0, "c"), (1.0, "a"), (2.0, "b")):
                group.create_task(after(seconds, name), name=name)

    run(main, 0)
    assert order == ["A", "B", "C"]


def test_who_waits_for_nobody_is_a_deadlock() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError):
        run(main, 0)


def test_work_that_never_lets_time_pass_is_a_livelock() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(LivelockError):
        run(main, 0)


def test_chance_follows_from_the_seed_and_is_given_back_afterwards() -> None:
    async def main() -> float:
        return random.random()

    state = random.getstate()
    assert run(main, 7) == run(main, 7) != run(main, 8)
    assert random.getstate() == state
