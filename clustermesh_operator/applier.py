"""Writes what a plan wants and the API server does not have yet.

An object is looked at again only when what is wanted of it, or what was seen of it, has changed. One that
cannot be written keeps nobody else waiting; the reason is logged once, and it is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from clustermesh_operator.plan import Plan, Ref
from k8s.client import Client
from k8s.errors import KubernetesError, NotFoundError

log = logging.getLogger(__name__)

Body = dict[str, Any]
Work = Callable[[], Awaitable[None]]

WRITERS = 8  # at once: a thousand imports are made in seconds, and the API server stays free for others


class Applier:
    """`version` tells which version of an object was seen last."""

    def __init__(self, client: Client, version: Callable[[Ref], str]) -> None:
        self._client = client
        self._version = version
        self._done: dict[Ref, tuple[Body, str]] = {}
        self.failures: dict[Ref, str] = {}
        self.writes = 0

    async def apply(self, plan: Plan) -> bool:
        """Whether all of it could be written."""
        failed: dict[Ref, str] = {}
        await self._all({ref: partial(self._delete, ref) for ref in plan.deletes}, failed)
        writes: dict[Ref, Work] = {}
        for ref, body in (plan.objects | plan.slices).items():
            seen = self._version(ref)
            if not seen or self._done.get(ref) != (body, seen):
                writes[ref] = partial(self._write, ref, body, seen)
        await self._all(writes, failed)
        statuses = {ref: partial(self._tell, ref, status) for ref, status in plan.statuses.items()}
        await self._all(statuses, failed)
        self._done = {ref: done for ref, done in self._done.items() if ref in plan.objects}
        self.failures = failed
        return not failed

    async def _all(self, works: Mapping[Ref, Work], failed: dict[Ref, str]) -> None:
        """A few at a time; none of them keeps the others from being tried."""
        turns = asyncio.Semaphore(WRITERS)
        async with asyncio.TaskGroup() as group:
            for ref, work in works.items():
                attempt = self._attempt(ref, work, failed, turns)
                group.create_task(attempt, name=f"write/{ref.resource.plural}/{ref.key}")

    async def _attempt(self, ref: Ref, work: Work, failed: dict[Ref, str], turns: asyncio.Semaphore) -> None:
        try:
            async with turns:
                await work()
        except KubernetesError as error:
            failed[ref] = str(error)
            if self.failures.get(ref) != failed[ref]:
                log.warning("cannot write %s %s: %s", ref.resource.kind, ref.key, error)

    async def _delete(self, ref: Ref) -> None:
        if await self._client.delete(ref.resource, ref.name, ref.namespace):
            self.writes += 1
            log.info("deleted %s %s", ref.resource.kind, ref.key)

    async def _write(self, ref: Ref, body: Body, seen: str) -> None:
        """A change is written as it is: a comparison would not see what a list's item has lost."""
        known = self._done.get(ref)
        if seen and known is not None and known[0] != body:
            await self._client.merge_patch(ref.resource, ref.name, body, ref.namespace)
            applied = "changed"
        else:
            applied = await self._client.apply(ref.resource, body)
        self._done[ref] = (body, seen)
        if applied != "unchanged":
            self.writes += 1
            log.info("%s %s %s", applied, ref.resource.kind, ref.key)

    async def _tell(self, ref: Ref, status: Body) -> None:
        try:
            await self._client.merge_patch(
                ref.resource, ref.name, {"status": status}, ref.namespace, "status"
            )
        except NotFoundError:
            return  # it has gone in the meantime: there is nobody to tell
        self.writes += 1
