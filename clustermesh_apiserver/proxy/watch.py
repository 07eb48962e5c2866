"""One client's stream in front of one stream of etcd's: requests judged one by one, answers untouched.

Promises: answers are passed on as the bytes that etcd sent, one in flight at a time, so a slow client
slows its own stream and holds no memory here; a client that reads nothing for STALL_SECONDS is cut off.
A refused watch is answered as etcd answers it (created and cancelled at once) and the stream lives on.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio

from aiokit.failure import first
from clustermesh_apiserver.proxy.authz import Allow, RoleKind, admit
from clustermesh_apiserver.proxy.caller import Caller
from clustermesh_apiserver.proxy.method import WATCH
from clustermesh_apiserver.proxy.metric import Metrics
from clustermesh_apiserver.proxy.order import CreateOrder
from clustermesh_apiserver.proxy.status import (
    GONE,
    REFUSED,
    STALLED,
    STOPPING,
    TOO_MANY_CREATES,
    WATCH_PERMISSION_DENIED,
    Status,
    of_upstream,
)
from clustermesh_apiserver.proxy.upstream import Upstream
from kvstore import messages

STALL_SECONDS = 60.0  # longer than a client's garbage collection or a short partition of its network
MAX_PENDING_CREATES = 1024  # unanswered create requests of one stream; clients send few at a time
_NO_WATCH = -1  # the watch id of a watch that was never made, since etcd 3.5


class Ended(Exception):
    """The stream is to end with a status of ours."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.details)
        self.status = status


class Relay:
    """A stream of `path` between a client (`context`) and etcd (`call`)."""

    def __init__(
        self, path: str, caller: Caller, *, context: Any, call: Any, upstream: Upstream, metrics: Metrics
    ) -> None:
        self._path = path
        self._caller = caller
        self._context = context
        self._call = call
        self._upstream = upstream
        self._metrics = metrics
        self._creates = CreateOrder()
        self._writing = asyncio.Lock()  # gRPC takes one write at a time; refusals come from another task

    async def run(self, stopping: asyncio.Event) -> Status | None:
        """Until one side ends; the status to end the client's side with, None for OK."""
        status: Status | None = None
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._requests(), name=f"{self._path} requests"),
                    group.create_task(_until(stopping), name=f"{self._path} until stopping"),
                ]
                await self._answers()
                for task in tasks:
                    task.cancel()
        except* grpc.aio.AioRpcError as lost:
            status = of_upstream(first(lost))
        except* Ended as ended:
            reason = first(ended)
            assert isinstance(reason, Ended)
            status = reason.status
        return status

    async def _requests(self) -> None:
        while (request := await self._context.read()) is not grpc.aio.EOF:
            verdict = admit(self._caller.role, self._path, request)
            if isinstance(verdict, Allow):
                await self._send_on(verdict.request)
                continue
            self._metrics.refuse(self._caller.role, self._path, self._caller.peer, verdict)
            if self._path != WATCH.path or verdict.reason != "range":
                raise Ended(REFUSED)
            await self._refuse_watch()
        await self._call.done_writing()

    async def _send_on(self, request: bytes) -> None:
        if self._judges_watches and messages.WatchRequest.FromString(request).HasField("create_request"):
            if len(self._creates) >= MAX_PENDING_CREATES:
                raise Ended(TOO_MANY_CREATES)
            self._creates.forwarded()
        self._metrics.sent_on(self._caller.role, self._path)
        try:
            await self._call.write(request)
        except asyncio.InvalidStateError:
            return  # etcd has ended the stream: the reading side says how

    async def _refuse_watch(self) -> None:
        if len(self._creates) >= MAX_PENDING_CREATES:
            raise Ended(TOO_MANY_CREATES)
        answer = messages.WatchResponse(
            header=await self._upstream.header(),
            watch_id=_NO_WATCH,
            created=True,
            canceled=True,
            cancel_reason=WATCH_PERMISSION_DENIED,
        )
        async with self._writing:
            for due in self._creates.refused(answer.SerializeToString()):
                await self._write(due)

    async def _answers(self) -> None:
        while (answer := await self._call.read()) is not grpc.aio.EOF:
            async with self._writing:
                await self._write(answer)
                # Only while an answer to a create request is due is there a need to look inside.
                if len(self._creates) and messages.WatchResponse.FromString(answer).created:
                    for due in self._creates.created():
                        await self._write(due)

    async def _write(self, answer: bytes) -> None:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self._context.write(answer)
        except TimeoutError as error:
            raise Ended(STALLED) from error
        except grpc.aio.InternalError as error:
            raise Ended(GONE) from error

    @property
    def _judges_watches(self) -> bool:
        return self._path == WATCH.path and self._caller.role.kind is not RoleKind.ADMIN


async def _until(stopping: asyncio.Event) -> None:
    await stopping.wait()
    raise Ended(STOPPING)
