"""Being asked to end: SIGTERM and SIGINT as something to wait for."""

from __future__ import annotations

import asyncio
import signal

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def wait_terminated() -> None:
    """Return when the process is asked to end; until then those signals do nothing else."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in _SIGNALS:
        loop.add_signal_handler(number, asked.set)
    try:
        await asked.wait()
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
