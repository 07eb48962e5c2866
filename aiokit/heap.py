"""Freed memory back to the system: the C library keeps what one large list needed for a while.

A list of half a million entries passes through in pages of megabytes; what they leave behind is a third of
the process and of no use until the next list.
"""

from __future__ import annotations

import asyncio
import ctypes

EVERY_SECONDS = 30.0  # a few milliseconds each, outside of the event loop


async def giving_back(every: float = EVERY_SECONDS) -> None:
    """Until cancelled. Does nothing with a C library that cannot."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(every)
        await asyncio.to_thread(trim, 0)
