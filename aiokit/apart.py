"""Running something in a task of its own, for whoever survives its failures.

A TaskGroup that fails cancels the task it is in, and until CPython 3.13 forgets to take that back when its
body had ended already. The task then counts as being cancelled for the rest of its life: the next time-out
in it looks like a cancellation from outside and ends it, silently. And a real cancellation that comes while
the group is failing is lost. A loop that catches a group's errors and tries again must not share its task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def apart(work: Coroutine[Any, Any, T], name: str) -> T:
    """The result of `work`, or its error. Cancelling the caller cancels `work` and waits for its end."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
            task.cancel()
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # seen; the cancellation counts for more
    raise cancelled
