"""Where etcd is now: asked once for all who want to know at the same time."""

from __future__ import annotations

import asyncio
import re
from typing import Protocol

import grpc.aio

from clustermesh_apiserver.proxy.source import Head
from clustermesh_apiserver.proxy.upstream import Upstream
from kvstore.messages import ResponseHeader, StatusResponse

# Older servers' answers to a request for progress may overtake events that they stand for.
_EXACT_SINCE = {(3, 4): 25, (3, 5): 8}


class HeadSource(Protocol):
    """Where etcd is now."""

    @property
    def newest(self) -> Head: ...

    async def ask(self) -> ResponseHeader:
        """Raises grpc.aio.AioRpcError."""


class HeadRevision:
    """`ask` answers with a header that etcd made after the call began; a thousand callers share a few."""

    def __init__(self, upstream: Upstream) -> None:
        self.newest = Head(0, False)
        self._upstream = upstream
        self._begun = 0
        self._number = 0  # of the question that `_outcome` answers
        self._outcome: StatusResponse | grpc.aio.AioRpcError | None = None
        self._asking = asyncio.Lock()

    @property
    def questions(self) -> int:
        """How often etcd has been asked."""
        return self._begun

    async def ask(self) -> ResponseHeader:
        """Raises grpc.aio.AioRpcError."""
        before = self._begun
        async with self._asking:
            if self._number <= before:
                await self._ask()
            outcome = self._outcome
        if not isinstance(outcome, StatusResponse):
            assert outcome is not None
            raise outcome
        return outcome.header

    async def _ask(self) -> None:
        self._begun += 1
        number = self._begun
        try:
            self._outcome = await self._upstream.status()
        except grpc.aio.AioRpcError as error:
            self._outcome = error
        else:
            revision = self._outcome.header.revision
            self.newest = Head(revision, progress_is_exact(self._outcome.version))
        self._number = number


def progress_is_exact(version: str) -> bool:
    """Whether an etcd of this version sends events before the progress that covers them."""
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if match is None:
        return False
    major, minor, patch = map(int, match.groups())
    return (major, minor) > (3, 5) or patch >= _EXACT_SINCE.get((major, minor), patch + 1)
