"""How long one callback kept the event loop from all others: the longest one, by the clock and in CPU time.

The two differ where another process, or a thread that held the interpreter, was in the way; only CPU time is
our own doing. Replaces asyncio's own runner of callbacks, so only a process under measurement imports this.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any


class LoopWatch:
    """Of everything since `reset`. Milliseconds."""

    def __init__(self) -> None:
        self.reset()
        self._original = asyncio.Handle._run
        watch, original = self, self._original

        def timed(handle: asyncio.Handle) -> None:
            begun, used = time.perf_counter(), time.thread_time()
            original(handle)
            watch.note((time.perf_counter() - begun) * 1000, (time.thread_time() - used) * 1000, handle)

        asyncio.Handle._run = timed  # type: ignore[method-assign,assignment]

    def reset(self) -> None:
        self.longest_ms = self.longest_cpu_ms = 0.0
        self.who = ""

    def note(self, took: float, used: float, handle: Any) -> None:
        self.longest_ms = max(self.longest_ms, took)
        if used > self.longest_cpu_ms:
            self.longest_cpu_ms = used
            callback = getattr(handle, "_callback", None)
            owner = getattr(callback, "__self__", None)
            self.who = owner.get_name() if isinstance(owner, asyncio.Task) else repr(callback)[:80]

    def close(self) -> None:
        asyncio.Handle._run = self._original  # type: ignore[method-assign]
