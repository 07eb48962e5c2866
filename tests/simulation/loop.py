"""An event loop whose clock is a number: it jumps to the next timer whenever nothing is ready.

Promises: no real waiting; the same seed gives the same schedule, in every process; threads are not used
(what is handed to one runs at once, inline); a loop in which nothing can ever happen again, or in which
time stands still, ends with an error instead of hanging.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")

STUCK_ROUNDS = 50_000  # rounds of the loop at one moment: no honest work needs so many


class DeadlockError(RuntimeError):
    """Nothing is ready and there is no timer: everybody waits for everybody."""


class LivelockError(RuntimeError):
    """Something is always ready, so time does not pass."""


class _JumpingSelector(selectors.SelectSelector):
    """Instead of waiting for a file, moves the clock by what the loop would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._rounds = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise DeadlockError(f"nothing can happen any more at {self.now:.3f} s")
        self._rounds = 0 if timeout > 0 else self._rounds + 1
        if self._rounds > STUCK_ROUNDS:
            raise LivelockError(f"time stands still at {self.now:.3f} s")
        self.now += max(0.0, timeout)
        return []


class _NumberedTask(asyncio.Task[T]):
    """A task whose place in a set is its number, not its address: a TaskGroup cancels in that order."""

    number: int

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)
        self._count = 0
        self.set_task_factory(self._make_task)  # type: ignore[arg-type]  # its type is private

    def time(self) -> float:
        return self._clock.now

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - as a thread's: handed to who waits
            future.set_exception(error)
        return future

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T], context: Context | None = None
    ) -> asyncio.Task[T]:
        self._count += 1
        task: _NumberedTask[T] = _NumberedTask.__new__(_NumberedTask)
        task.number = self._count  # before its making ends: that puts it into asyncio's set of all tasks
        task.__init__(coro, loop=loop, context=context)  # type: ignore[misc]
        return task


def run(main: Callable[[], Awaitable[T]], seed: int) -> T:
    """Run `main` to its end in a loop of its own; chance (back-offs' jitter) follows from `seed`."""
    state = random.getstate()
    random.seed(seed)
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(_whole(main))
    finally:
        _end_all(loop)
        random.setstate(state)


async def _whole(main: Callable[[], Awaitable[T]]) -> T:
    return await main()


def _end_all(loop: VirtualLoop) -> None:
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
