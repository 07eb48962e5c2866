"""Is the kernel as the agent wants it? Compares all maps and hooks, whole, while the mesh goes on changing.

What seems to differ is looked at again with the data path at rest, and what has changed since its last write
once more after the next: only what stays different is told. Changes nothing and mends nothing: the data path
does that (`agent.datapath`), and a difference that stays is a bug or somebody else's hand.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from agent import hookcheck
from agent.datapath import Datapath
from agent.difference import MapState, as_object
from agent.errors import NotReadyError
from agent.tablecheck import Check
from agent.tables import Tables

ROUNDS = 5  # an entry that changes in each of them is told as moving
CATCH_UP_SECONDS = 5.0  # a write takes milliseconds; with a failing map there is no end to wait for
PAUSE_SECONDS = 0.1  # between looks at the hooks: an endpoint that comes or goes is there in less
LIMIT_SECONDS = 60.0  # half a million entries take two seconds on an idle machine

Hooks = Callable[[], Awaitable[MapState]]  # which programs are on their hooks, told as a map


class Verifiable(Protocol):
    """`agent.kernel.KernelMaps`."""

    def checks(self) -> Mapping[str, Check]: ...
    def told(self, states: Sequence[MapState]) -> list[dict[str, Any]]:
        """In words, for the API. Blocking."""


class Verifier:
    """One comparison at a time: each reads every map."""

    def __init__(
        self,
        tables: Tables,
        datapath: Datapath,
        kernel: Verifiable,
        hooks: Hooks,
    ) -> None:
        self._tables = tables
        self._datapath = datapath
        self._kernel = kernel
        self._hooks = hooks
        self._one = asyncio.Lock()

    async def verify(self) -> dict[str, Any]:
        """The answer of the API. Raises NotReadyError while nothing is wanted yet, TimeoutError, MapError."""
        if not self._tables.own_is_listed:
            raise NotReadyError("Kubernetes is not listed yet: nothing is wanted of the kernel before")
        begun = time.monotonic()
        async with asyncio.timeout(LIMIT_SECONDS), self._one:
            checks = self._kernel.checks().values()
            states = [state for check in checks for state in await self._steady(check)]
            hooks = await self._steady_hooks()
            told = await asyncio.to_thread(self._kernel.told, states)
        states.append(hooks)
        return {
            "equal": all(state.is_equal for state in states),
            "settled": all(state.is_settled for state in states),
            "revision": self._tables.clock.revision,
            "applied": self._datapath.applied(),
            "errors": dict(self._datapath.errors()),
            "seconds": round(time.monotonic() - begun, 3),
            "maps": [*told, as_object(hooks, hookcheck.words)],
        }

    async def _steady(self, check: Check) -> Sequence[MapState]:
        await self._catch_up()
        states = await check.look()
        for _ in range(ROUNDS):
            if all(state.is_equal and state.is_settled for state in states):
                break
            await self._catch_up()
            async with self._datapath.at_rest():
                states = await check.confirm(states)
            if all(state.is_settled for state in states):
                break
        return states

    async def _catch_up(self) -> None:
        """Until what is wanted now is written; a map that fails is not waited for."""
        if not self._datapath.errors():
            with suppress(TimeoutError):
                async with asyncio.timeout(CATCH_UP_SECONDS):
                    await self._datapath.wait_applied(self._tables.clock.revision)

    async def _steady_hooks(self) -> MapState:
        state = await self._hooks()
        for _ in range(ROUNDS):
            if state.is_equal:
                break
            await asyncio.sleep(PAUSE_SECONDS)
            state = await self._hooks()
        return state
