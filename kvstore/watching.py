"""One watch stream: from creation to the error that ends it.

gRPC's keepalive notices a dead connection; a server (or a proxy) that is alive but has forgotten our
watch is noticed by asking it for progress when nothing was heard for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Any

import grpc
import grpc.aio

from kvstore.errors import KVStoreError, TransientError
from kvstore.link import REQUIRE_LEADER, Link
from kvstore.messages import (
    Event,
    ResponseHeader,
    WatchCreateRequest,
    WatchProgressRequest,
    WatchRequest,
    WatchResponse,
)
from kvstore.methods import WATCH
from kvstore.rpcerrors import from_cancelled_watch
from kvstore.watch import Change, Changes

SILENCE_SECONDS = 20.0  # nothing heard for this long: ask for progress
UNANSWERED = 3  # etcd answers only while the watch has caught up, so one silence proves nothing
_DELETE = Event.EventType.Value("DELETE")
_MANUAL_PROGRESS = -1  # the watch_id of an answer to a progress request


class _Heartbeat:
    """Sends the requests of one stream: the watch, then a request for progress after each silence."""

    def __init__(self, create: WatchRequest, silence_seconds: float) -> None:
        self.heard = False
        self.stalled = False
        self._create = create
        self._silence_seconds = silence_seconds
        self._ended = asyncio.Event()

    def end(self) -> None:
        self._ended.set()

    async def requests(self, give_up: Callable[[], object]) -> AsyncIterator[WatchRequest]:
        """What gRPC sends on our behalf: its own task drives this, until `end`."""
        yield self._create
        unanswered = 0
        while not await self._ended_within(self._silence_seconds):
            if self.heard:
                unanswered = 0
            elif unanswered < UNANSWERED:
                unanswered += 1
                yield WatchRequest(progress_request=WatchProgressRequest())
            else:
                self.stalled = True
                give_up()
                return
            self.heard = False

    async def _ended_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        return self._ended.is_set()


async def changes(
    link: Link,
    key: bytes,
    range_end: bytes,
    start_revision: int,
    *,
    check: Callable[[ResponseHeader], None],
    failed: Callable[[Link, Any], KVStoreError],
    silence_seconds: float = SILENCE_SECONDS,
) -> AsyncGenerator[Changes, None]:
    """What happens from `start_revision` on. Never ends but by a KVStoreError."""
    create = WatchCreateRequest(
        key=key, range_end=range_end, start_revision=start_revision, progress_notify=True, fragment=True
    )
    heartbeat = _Heartbeat(WatchRequest(create_request=create), silence_seconds)
    open_stream = link.channel.stream_stream(
        WATCH.path, WATCH.request.SerializeToString, WATCH.response.FromString
    )
    calls: list[Any] = []
    stream = open_stream(heartbeat.requests(lambda: calls.pop().cancel()), metadata=REQUIRE_LEADER)
    calls.append(stream)
    try:
        async with aclosing(_folded(stream, heartbeat, check, link.endpoint)) as folded:
            async for change in folded:
                yield change
    except grpc.aio.AioRpcError as error:
        raise failed(link, error) from error
    except asyncio.CancelledError:
        # gRPC reports a stream that we cancelled ourselves in the same way as a task's cancellation
        task = asyncio.current_task()
        if heartbeat.stalled and not (task and task.cancelling()):
            raise TransientError(f"the watch stalled: no answer to {UNANSWERED} progress requests") from None
        raise
    finally:
        heartbeat.end()
        stream.cancel()
    raise TransientError(f"the server ended the watch without a reason ({link.endpoint})")


async def _folded(
    stream: Any, heartbeat: _Heartbeat, check: Callable[[ResponseHeader], None], endpoint: str
) -> AsyncGenerator[Changes, None]:
    fragments: list[Change] = []
    async for response in stream:
        heartbeat.heard = True
        check(response.header)
        if response.canceled:
            raise from_cancelled_watch(response.cancel_reason, response.compact_revision, endpoint)
        if response.created or response.watch_id == _MANUAL_PROGRESS:
            # an answer to a progress request may overtake events in older servers: it proves life only
            continue
        fragments.extend(decode(response))
        if not response.fragment:
            yield Changes(response.header.revision, fragments)
            fragments = []


def decode(response: WatchResponse) -> list[Change]:
    return [(event.kv.key, None if event.type == _DELETE else event.kv.value) for event in response.events]
