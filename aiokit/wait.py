"""Waiting for a condition, with an end: the only polling that tests and start-up code may do."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

Condition = Callable[[], "bool | Awaitable[bool]"]


async def eventually(condition: Condition, timeout: float = 10.0, interval: float = 0.02) -> None:
    """Return once `condition` holds; raise TimeoutError that names it after `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            while not await _holds(condition):  # noqa: ASYNC110 - polling is what this is for
                await asyncio.sleep(interval)
    except TimeoutError as error:
        raise TimeoutError(f"not within {timeout:g} s: {_describe(condition)}") from error


async def _holds(condition: Condition) -> bool:
    result = condition()
    return await result if inspect.isawaitable(result) else result


def _describe(condition: Condition) -> str:
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):
        return repr(condition)
