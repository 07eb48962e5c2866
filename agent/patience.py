"""The end of waiting for addresses of remote backends (`agent.unaddressed` says what is waited for)."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from agent.services import Services

LOOK_SECONDS = 1.0


async def give_up_waiting(services: Services) -> NoReturn:
    """Until cancelled."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        services.give_up_waiting()
