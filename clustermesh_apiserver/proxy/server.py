"""The proxy's gRPC front: every call is judged, then passed through as bytes.

Promises: no call reaches etcd before `authz` has allowed it; answers are etcd's own bytes, statuses and
texts (MemberList's addresses excepted, which would lead around the proxy). Watches are merged by the hub;
nothing else is shared or cached.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import grpc.aio

from aiokit.wait import eventually
from clustermesh_apiserver.proxy import grpc_health
from clustermesh_apiserver.proxy.authz import Allow, Refuse, RoleKind, admit
from clustermesh_apiserver.proxy.caller import Caller, caller_of
from clustermesh_apiserver.proxy.config import ProxyError
from clustermesh_apiserver.proxy.door import Door
from clustermesh_apiserver.proxy.grpc_health import HealthService
from clustermesh_apiserver.proxy.head import HeadRevision
from clustermesh_apiserver.proxy.hub import Hub
from clustermesh_apiserver.proxy.method import MEMBER_LIST, METHODS, WATCH
from clustermesh_apiserver.proxy.metric import Metrics
from clustermesh_apiserver.proxy.quota import Account
from clustermesh_apiserver.proxy.relay import Relay
from clustermesh_apiserver.proxy.session import Sessions
from clustermesh_apiserver.proxy.status import (
    MALFORMED,
    REFUSED,
    STOPPING,
    TOO_MANY,
    UNKNOWN_METHOD,
    Status,
    of_upstream,
    request_metadata,
    trailing_of,
)
from clustermesh_apiserver.proxy.upstream import Upstream
from clustermesh_apiserver.proxy.watch import WatchStream
from kvstore import messages

GRACE_SECONDS = 2.0  # for calls in flight when we are asked to end; streams are ended at once
UNARY_SECONDS = 120.0  # for clients that set no deadline: the largest list takes seconds
MAX_REQUEST_BYTES = 2 << 20  # etcd itself takes 1.5 MiB

OPTIONS = (
    # Go's client pings every 10-15 s; gRPC's default is to hang up on whom pings an idle connection.
    # These exact names: the ones with "recv" in them are silently ignored.
    ("grpc.http2.min_ping_interval_without_data_ms", 500),
    ("grpc.keepalive_permit_without_calls", 1),
    # A client that vanished without a word is noticed, and its streams are freed.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.max_concurrent_streams", 4096),
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # otherwise a second proxy would take half of our connections
)

_STATUSES = {"malformed": MALFORMED, "quota": TOO_MANY}

log = logging.getLogger(__name__)


class Front:
    """The handlers."""

    def __init__(
        self,
        cluster: str,
        *,
        upstream: Upstream,
        hub: Hub,
        door: Door,
        sessions: Sessions,
        health: HealthService,
        metrics: Metrics,
        identify: Callable[[Any, str], Caller] = caller_of,
    ) -> None:
        self.advertise = ""  # known once the port is
        self.sessions = sessions
        self._cluster = cluster
        self._identify = identify
        self._upstream = upstream
        self._hub = hub
        self._head = HeadRevision(upstream)
        self._door = door
        self._health = health
        self._metrics = metrics

    def handler(self, path: str) -> Any:
        """The handler of a method; without serialisers, so messages stay bytes."""
        if path == grpc_health.CHECK:
            return grpc.unary_unary_rpc_method_handler(self._bound(self._check_health, path))
        if path == grpc_health.WATCH:
            return grpc.stream_stream_rpc_method_handler(self._bound(self._watch_health, path))
        method = METHODS.get(path)
        if method is None:
            return grpc.stream_stream_rpc_method_handler(self._bound(self._unknown, path))
        if method.is_stream:
            return grpc.stream_stream_rpc_method_handler(self._bound(self._stream, path))
        return grpc.unary_unary_rpc_method_handler(self._bound(self._unary, path))

    def _bound(self, call: Callable[[str, Any, Any], Any], path: str) -> Callable[[Any, Any], Any]:
        async def handle(request: Any, context: Any) -> Any:
            try:
                return await call(path, request, context)
            except grpc.aio.InternalError as error:
                # The client went away before gRPC told us. This is how its server wants to hear of it:
                # anything else is logged as a bug of ours.
                raise asyncio.CancelledError from error

        return handle

    async def _unknown(self, path: str, _requests: Any, context: Any) -> None:
        caller, _ = await self._enter(path, context)
        self._metrics.refuse(caller, path, Refuse("unknown method"))
        await UNKNOWN_METHOD.abort(context)

    async def _enter(self, path: str, context: Any) -> tuple[Caller, Account]:
        """Who calls, if it is let in and has not asked too often; the call is ended otherwise."""
        caller = self._identify(context, self._cluster)
        account = self._door.enter(caller)
        if isinstance(account, Account):
            return caller, account
        self._metrics.refuse(caller, path, account)
        await (TOO_MANY if account.reason == "quota" else REFUSED).abort(context)
        raise AssertionError("abort does not return")

    async def _unary(self, path: str, request: bytes, context: Any) -> bytes:
        caller, account = await self._enter(path, context)
        verdict = admit(caller.role, path, request)
        if isinstance(verdict, Allow) and not account.may_fetch():
            verdict = Refuse("quota", "bytes in flight")
        if isinstance(verdict, Refuse):
            self._metrics.refuse(caller, path, verdict)
            await _STATUSES.get(verdict.reason, REFUSED).abort(context)
            raise AssertionError("abort does not return")
        self._metrics.sent_on(caller.role, path)
        answer = await self._ask(path, verdict, context)
        _count_in_flight(account, len(answer), context)
        return self._own_addresses(answer) if path == MEMBER_LIST.path else answer

    async def _ask(self, path: str, allowed: Allow, context: Any) -> bytes:
        call = self._upstream.unary(path)(
            allowed.request,
            timeout=_deadline(context, UNARY_SECONDS),
            metadata=request_metadata(context.invocation_metadata()),
        )
        try:
            answer: bytes = await call
        except grpc.aio.AioRpcError as error:
            await of_upstream(error).abort(context)
            raise AssertionError("abort does not return") from error
        context.set_trailing_metadata(trailing_of(await call.trailing_metadata()))
        return answer

    async def _stream(self, path: str, _requests: Any, context: Any) -> None:
        caller, account = await self._enter(path, context)
        if self.sessions.is_stopping:
            await STOPPING.abort(context)
        if not account.may_stream():
            self._metrics.refuse(caller, path, Refuse("quota", "streams"))
            await TOO_MANY.abort(context)
        try:
            status = await self._streamed(path, caller, account, context)
        finally:
            account.streams -= 1
        if status is not None:
            await status.abort(context)

    async def _streamed(self, path: str, caller: Caller, account: Account, context: Any) -> Status | None:
        if path != WATCH.path:
            return await self._relay(path, caller, context)
        stream = WatchStream(
            caller, account, context=context, hub=self._hub, head=self._head, metrics=self._metrics
        )
        with self.sessions.open(stream, caller):
            return await stream.run()

    async def _relay(self, path: str, caller: Caller, context: Any) -> Status | None:
        call = self._upstream.stream(path)(
            timeout=_deadline(context), metadata=request_metadata(context.invocation_metadata())
        )
        relay = Relay(path, caller, context=context, call=call, metrics=self._metrics)
        try:
            with self.sessions.open(relay, caller):
                return await relay.run()
        finally:
            call.cancel()

    async def _check_health(self, path: str, request: bytes, context: Any) -> bytes:
        await self._enter_known(path, context)
        return await self._health.check(request, context)

    async def _watch_health(self, path: str, _requests: Any, context: Any) -> None:
        _, account = await self._enter_known(path, context)
        if not account.may_stream():
            await TOO_MANY.abort(context)
        try:
            await self._health.watch(context, lambda: self.sessions.is_stopping)
        finally:
            account.streams -= 1

    async def _enter_known(self, path: str, context: Any) -> tuple[Caller, Account]:
        caller, account = await self._enter(path, context)
        if caller.role.kind is RoleKind.UNKNOWN:
            self._metrics.refuse(caller, path, Refuse("unknown client"))
            await REFUSED.abort(context)
        return caller, account

    def _own_addresses(self, answer: bytes) -> bytes:
        """etcd tells its own address, on loopback: clients that follow it would miss the proxy."""
        listed = messages.MemberListResponse.FromString(answer)
        for member in listed.members:
            del member.peerURLs[:]
            member.clientURLs[:] = [self.advertise]
        return listed.SerializeToString()


def _count_in_flight(account: Account, size: int, context: Any) -> None:
    """Until gRPC has handed the answer to the client's connection, it is in our memory."""

    def sent(_context: Any) -> None:
        account.bytes_in_flight -= size

    account.bytes_in_flight += size
    context.add_done_callback(sent)


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    def __init__(self, front: Front) -> None:
        self._front = front

    def service(self, details: Any) -> Any:
        return self._front.handler(details.method)


@asynccontextmanager
async def listening(
    front: Front, address: str, credentials: Any, advertise: Callable[[int], str]
) -> AsyncGenerator[int]:
    """Serve on `address` while the block runs; gives the port. Raises ProxyError.

    Without `credentials` (None) in plain text: only a benchmark does that, with an `identify` of its own.
    """
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((_Handlers(front),))
    try:
        if credentials is None:
            port: int = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise ProxyError(f"cannot listen on {address}: {error}") from error
    front.advertise = advertise(port)
    await server.start()
    try:
        yield port
    finally:
        front.sessions.stop()
        with suppress(TimeoutError):  # else gRPC would end them, in words that no client of etcd knows
            await eventually(lambda: not len(front.sessions), GRACE_SECONDS)
        await server.stop(GRACE_SECONDS)


def _deadline(context: Any, longest: float | None = None) -> float | None:
    remaining: float | None = context.time_remaining()
    if remaining is None:
        return longest
    return remaining if longest is None else min(remaining, longest)
