"""Gives the node's own stack its way to the pods of other nodes, and mends it.

Promises: what `agent.noderoutes` plans is in the kernel soon after a node changed, and again after every
periodic compare with what the kernel really has. Ends without removing anything: traffic goes on without us.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from agent import noderoutes
from agent.errors import AgentError
from agent.local import LocalNode
from agent.noderoutes import Changes, NodeRoutes, Plan
from agent.routetable import Seen
from aiokit.backoff import Backoff

log = logging.getLogger(__name__)

RESYNC_SECONDS = 30.0  # a device that went down takes its routes along, and says nothing
RETRY_FIRST, RETRY_CAP = 0.2, 10.0
GATHER_SECONDS = 0.05  # nodes come in crowds: one look at the kernel for all of them


class Table(Protocol):
    """Blocking. Raises AgentError."""

    def look(self) -> Seen: ...
    def change(self, changes: Changes, held: Mapping[str, str]) -> Mapping[str, str]: ...


class Routing:
    """`run` is its task. `spoke` says whether everybody who may want a route has been listed."""

    def __init__(
        self,
        nodes: NodeRoutes,
        table: Table,
        *,
        node: LocalNode,
        cidr: str,
        cidr6: str = "",
        native_cidrs: Sequence[str] = (),
        spoke: Callable[[], bool],
        resync: float = RESYNC_SECONDS,
    ) -> None:
        self._nodes = nodes
        self._table = table
        self._node = node
        self._cidrs = cidr, cidr6
        self._native_cidrs = native_cidrs
        self._spoke = spoke
        self._resync = resync
        self._plan = Plan()
        self._problems: dict[str, str] = {}

    def status(self) -> dict[str, Any]:
        return {
            "routes": len(self._plan.routes) - len(self._problems.keys() & self._plan.routes.keys()),
            "refused": dict(self._plan.refused),
            "problems": dict(self._problems),
        }

    async def run(self) -> None:
        backoff = Backoff(RETRY_FIRST, RETRY_CAP)
        while True:
            revision = self._nodes.clock.revision
            await self._round()
            if self._problems:
                pause = backoff.next()
            else:
                backoff.reset()
                pause = self._resync
            await self._wait(revision, pause)

    async def _wait(self, revision: int, seconds: float) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                await self._nodes.clock.wait_newer(revision)
        except TimeoutError:
            return

    async def _round(self) -> None:
        try:
            problems = await self._compare()
        except AgentError as error:
            problems = {"": str(error)}
        for what in problems.keys() - self._problems.keys():
            log.error("the route to %s cannot be set: %s", what or "other nodes", problems[what])
        self._problems = problems

    async def _compare(self) -> dict[str, str]:
        seen = await asyncio.to_thread(self._table.look)
        before, spoke = self._plan, self._spoke()
        own, own6 = self._cidrs
        reserved = [*filter(None, (self._node.ip, self._node.ip6)), *seen.connected]
        mode = self._node.routing_mode
        nodes, native = self._nodes.nodes, self._native_cidrs
        wanted = noderoutes.plan(nodes, own, reserved, mode, own6, native_cidrs=native)
        for what in wanted.refused.keys() - before.refused.keys():
            log.warning("no route for the pods of %s: %s", what, wanted.refused[what])
        changes = noderoutes.difference(
            wanted.routes, seen.ours, wanted_before=before.routes.keys(), everybody_spoke=spoke
        )
        self._plan = wanted
        if not changes.set and not changes.remove:
            return {}
        problems = await asyncio.to_thread(self._table.change, changes, seen.ours)
        log.info("routes to other nodes' pods: %s set, %s removed", len(changes.set), len(changes.remove))
        return dict(problems)
