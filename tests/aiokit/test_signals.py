import asyncio
import os
import signal

from aiokit.signals import wait_terminated


async def test_sigterm_ends_the_wait_and_the_old_behaviour_returns() -> None:
    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(wait_terminated(), name="waiter")
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
    assert waiter.done()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
