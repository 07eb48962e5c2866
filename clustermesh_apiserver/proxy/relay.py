"""One client's stream in front of one stream of etcd's: requests judged one by one, answers untouched.

For streams that nobody shares (keeping leases alive). One answer is in flight at a time, so a slow client
slows its own stream and holds no memory here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc.aio

from clustermesh_apiserver.proxy.authz import Allow, admit
from clustermesh_apiserver.proxy.call import Call
from clustermesh_apiserver.proxy.metric import Metrics
from clustermesh_apiserver.proxy.status import OK, REFUSED, Ended, Status, status_of


class Relay:
    """Between a client (`call`) and etcd (`upstream`): each direction in a task, until either is over."""

    def __init__(self, call: Call, upstream: Any, metrics: Metrics) -> None:
        self.path = call.path
        self._call = call
        self._upstream = upstream
        self._metrics = metrics
        self._status: Status | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> Status:
        """The status to end the client's side with."""
        try:
            async with asyncio.TaskGroup() as group:
                self._tasks = [
                    group.create_task(self._until_over(self._requests), name=f"{self.path} requests"),
                    group.create_task(self._until_over(self._answers), name=f"{self.path} answers"),
                ]
        finally:
            self._tasks = []
        return self._status or OK

    def end(self, status: Status) -> None:
        """End it from outside, whatever it is doing."""
        self._status = self._status or status
        for task in self._tasks:
            task.cancel()

    def check(self, now: float) -> None:
        """Its client decides how fast it is."""

    def review(self) -> None:
        """Only streams of reads look different to different peers."""

    async def _until_over(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Ends the stream when `work` does so.

        Here and not by failing: a failed group's error holds the frames of all, and so us and what was being
        written, until the garbage collector comes.
        """
        try:
            await work()
        except (grpc.aio.AioRpcError, Ended) as error:
            self.end(status_of(error))

    async def _requests(self) -> None:
        caller = self._call.caller
        while (request := await self._call.read()) is not None:
            verdict = admit(caller.role, self.path, request)
            if not isinstance(verdict, Allow):
                self._metrics.refuse(caller, self.path, verdict)
                raise Ended(REFUSED)
            self._metrics.allow(caller, self.path, verdict)
            try:
                await self._upstream.write(verdict.request)
            except asyncio.InvalidStateError:
                return  # etcd has ended the stream: the reading side says how
        await self._upstream.done_writing()

    async def _answers(self) -> None:
        while (answer := await self._upstream.read()) is not grpc.aio.EOF:
            await self._call.write(answer)
        self._tasks[0].cancel()
