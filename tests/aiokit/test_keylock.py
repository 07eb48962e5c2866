"""One at a time for a key, and nothing kept of a key that nobody wants."""

import asyncio

from aiokit.keylock import KeyLock
from aiokit.wait import eventually


async def test_a_key_is_held_by_one_at_a_time_and_forgotten_after_the_last() -> None:
    lock, log, go = KeyLock(), list[str](), asyncio.Event()

    async def hold(name: str, key: str) -> None:
        async with lock.held(key):
            log.append(name)
            await go.wait()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(hold("first", "a"), name="first")
        group.create_task(hold("second", "a"), name="second")
        group.create_task(hold("other", "b"), name="other")
        await eventually(lambda: {"first", "other"} <= set(log))
        assert log.count("second") == 0
        assert "a" in lock
        go.set()
    assert log[-1] == "second"
    assert "a" not in lock
    assert "b" not in lock
