"""One client's stream in front of one stream of etcd's: requests judged one by one, answers untouched.

For streams that nobody shares (keeping leases alive). One answer is in flight at a time, so a slow client
slows its own stream and holds no memory here.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio

from clustermesh_apiserver.proxy.authz import Allow, admit
from clustermesh_apiserver.proxy.caller import Caller
from clustermesh_apiserver.proxy.metric import Metrics
from clustermesh_apiserver.proxy.status import GONE, REFUSED, Ended
from clustermesh_apiserver.proxy.twoway import TwoWay


class Relay(TwoWay):
    """A stream of `path` between a client (`context`) and etcd (`call`)."""

    def __init__(self, path: str, caller: Caller, *, context: Any, call: Any, metrics: Metrics) -> None:
        super().__init__(path)
        self._caller = caller
        self._context = context
        self._call = call
        self._metrics = metrics

    def check(self, now: float) -> None:
        """Its client decides how fast it is."""

    async def _requests(self) -> None:
        while (request := await self._context.read()) is not grpc.aio.EOF:
            verdict = admit(self._caller.role, self.path, request)
            if not isinstance(verdict, Allow):
                self._metrics.refuse(self._caller, self.path, verdict)
                raise Ended(REFUSED)
            self._metrics.sent_on(self._caller.role, self.path)
            try:
                await self._call.write(verdict.request)
            except asyncio.InvalidStateError:
                return  # etcd has ended the stream: the reading side says how
        await self._call.done_writing()

    async def _answers(self) -> None:
        while (answer := await self._call.read()) is not grpc.aio.EOF:
            try:
                await self._context.write(answer)
            except grpc.aio.InternalError as error:
                raise Ended(GONE) from error
        self._tasks[0].cancel()
