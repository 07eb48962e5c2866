"""One client's stream while it lasts: its requests and its answers, each in a task, until either is over."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any

import grpc.aio

from clustermesh_apiserver.proxy.status import Ended, Status, status_of


class TwoWay(ABC):
    """A stream of `path`; grpc.aio.AioRpcError or Ended on one side end both."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._status: Status | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @abstractmethod
    async def _requests(self) -> None: ...

    @abstractmethod
    async def _answers(self) -> None: ...

    @abstractmethod
    def check(self, now: float) -> None:
        """End it if its client reads too slowly. `now`: the loop's time."""

    async def run(self) -> Status | None:
        """Until one side ends; the status to end the client's side with, None for OK."""
        try:
            async with asyncio.TaskGroup() as group:
                self._tasks = [
                    group.create_task(self._until_over(self._requests), name=f"{self.path} requests"),
                    group.create_task(self._until_over(self._answers), name=f"{self.path} answers"),
                ]
        finally:
            self._tasks = []
        return self._status

    def end(self, status: Status) -> None:
        """End it from outside, whatever it is doing."""
        self._status = self._status or status
        for task in self._tasks:
            task.cancel()

    async def _until_over(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Ends the stream when `work` does so.

        Here and not by failing: a failed group's error holds the frames of all, and so us and what was being
        written, until the garbage collector comes.
        """
        try:
            await work()
        except (grpc.aio.AioRpcError, Ended) as error:
            self.end(status_of(error))
