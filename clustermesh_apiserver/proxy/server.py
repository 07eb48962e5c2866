"""The proxy's handlers: every call is judged, then passed through as bytes.

Promises: no call reaches etcd before `authz` has allowed it; answers are etcd's own bytes, statuses and
texts (MemberList's addresses excepted, which would lead around the proxy). Watches are merged by the hub;
nothing else is shared or cached.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

import grpc.aio

from aiokit.wait import eventually
from clustermesh_apiserver.proxy import grpc_health
from clustermesh_apiserver.proxy.authz import Allow, Refuse, RoleKind, admit
from clustermesh_apiserver.proxy.call import Call
from clustermesh_apiserver.proxy.caller import Caller, Peer, caller_of
from clustermesh_apiserver.proxy.config import ProxyError
from clustermesh_apiserver.proxy.door import Door
from clustermesh_apiserver.proxy.grpc_health import HealthService
from clustermesh_apiserver.proxy.head import HeadRevision
from clustermesh_apiserver.proxy.http2.server import bind, serving
from clustermesh_apiserver.proxy.hub import Hub
from clustermesh_apiserver.proxy.method import MEMBER_LIST, METHODS, WATCH
from clustermesh_apiserver.proxy.metric import Metrics
from clustermesh_apiserver.proxy.quota import Account
from clustermesh_apiserver.proxy.relay import Relay
from clustermesh_apiserver.proxy.session import Sessions
from clustermesh_apiserver.proxy.status import (
    MALFORMED,
    OK,
    REFUSED,
    STOPPING,
    TOO_MANY,
    UNKNOWN_METHOD,
    Ended,
    Metadata,
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
REQUEST_SECONDS = 30.0  # from a call's headers to its request

_STATUSES = {"malformed": MALFORMED, "quota": TOO_MANY}


class Front:
    """`answer` handles any call; it knows nothing of what carries it."""

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
        identify: Callable[[Peer, str], Caller] = caller_of,
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

    def identify(self, peer: Peer) -> Caller:
        """Raises ValueError."""
        return self._identify(peer, self._cluster)

    async def answer(self, call: Call) -> Status:
        """Answer a call; how it ended. Raises Ended with any other way to end it."""
        account = self._enter(call)
        method = METHODS.get(call.path)
        if method is not None:
            return await (self._stream if method.is_stream else self._unary)(call, account)
        if call.path not in (grpc_health.CHECK, grpc_health.WATCH):
            raise self._refused(call, Refuse("unknown method"), UNKNOWN_METHOD)
        if call.caller.role.kind is RoleKind.UNKNOWN:
            raise self._refused(call, Refuse("unknown client"), REFUSED)
        if call.path == grpc_health.WATCH:
            return await self._watch_health(call, account)
        await call.write(self._health.check(await _only_request(call)))
        return OK

    def _enter(self, call: Call) -> Account:
        """The client's account, if it is let in and has not asked too often. Raises Ended."""
        account = self._door.enter(call.caller)
        if isinstance(account, Account):
            return account
        raise self._refused(call, account, TOO_MANY if account.reason == "quota" else REFUSED)

    def _refused(self, call: Call, refusal: Refuse, status: Status) -> Ended:
        self._metrics.refuse(call.caller, call.path, refusal)
        return Ended(status)

    async def _unary(self, call: Call, account: Account) -> Status:
        request = await _only_request(call)
        role = self._door.views.role(call.caller.role)
        verdict = admit(role, call.path, request)
        if isinstance(verdict, Allow) and not account.may_fetch():
            verdict = Refuse("quota", "bytes in flight")
        if isinstance(verdict, Refuse):
            raise self._refused(call, verdict, _STATUSES.get(verdict.reason, REFUSED))
        self._metrics.allow(call.caller, call.path, verdict)
        answer, trailing = await self._ask(call, verdict)
        if call.path == MEMBER_LIST.path:
            answer = self._own_addresses(answer)
        account.bytes_in_flight += len(answer)  # it is in our memory until it is on its way
        try:
            await call.write(answer)
        finally:
            account.bytes_in_flight -= len(answer)
        return Status(OK.code, OK.details, trailing)

    async def _ask(self, call: Call, allowed: Allow) -> tuple[bytes, Metadata]:
        """etcd's answer, and what it said beside it. Raises Ended."""
        asked = self._upstream.unary(call.path)(
            allowed.request,
            timeout=_remaining(call, UNARY_SECONDS),
            metadata=request_metadata(call.metadata),
        )
        try:
            answer: bytes = await asked
        except grpc.aio.AioRpcError as error:
            raise Ended(of_upstream(error)) from None
        return answer, trailing_of(await asked.trailing_metadata())

    async def _stream(self, call: Call, account: Account) -> Status:
        if self.sessions.is_stopping:
            return STOPPING
        if not account.may_stream():
            raise self._refused(call, Refuse("quota", "streams"), TOO_MANY)
        try:
            return await (self._watch if call.path == WATCH.path else self._relay)(call, account)
        finally:
            account.streams -= 1

    async def _watch(self, call: Call, account: Account) -> Status:
        stream = WatchStream(
            call, account, hub=self._hub, head=self._head, metrics=self._metrics, views=self._door.views
        )
        with self.sessions.open(stream, call.caller):
            return await stream.run()

    async def _relay(self, call: Call, _account: Account) -> Status:
        upstream = self._upstream.stream(call.path)(
            timeout=_remaining(call), metadata=request_metadata(call.metadata)
        )
        relay = Relay(call, upstream, self._metrics)
        try:
            with self.sessions.open(relay, call.caller):
                return await relay.run()
        finally:
            upstream.cancel()

    async def _watch_health(self, call: Call, account: Account) -> Status:
        if not account.may_stream():
            raise self._refused(call, Refuse("quota", "streams"), TOO_MANY)
        try:
            return await self._health.watch(call, lambda: self.sessions.is_stopping)
        finally:
            account.streams -= 1

    def _own_addresses(self, answer: bytes) -> bytes:
        """etcd tells its own address, on loopback: clients that follow it would miss the proxy."""
        listed = messages.MemberListResponse.FromString(answer)
        for member in listed.members:
            del member.peerURLs[:]
            member.clientURLs[:] = [self.advertise]
        return listed.SerializeToString()


@asynccontextmanager
async def listening(
    front: Front,
    address: str,
    context: Callable[[], ssl.SSLContext] | None,
    advertise: Callable[[int], str],
) -> AsyncGenerator[int]:
    """Serve on `address` while the block runs; gives the port. Raises ProxyError.

    `context`: what a new handshake uses; without one (None) in plain text: only a benchmark does that, with
    an `identify` of its own.
    """
    try:
        bound = bind(address)
    except (OSError, ValueError) as error:
        raise ProxyError(f"cannot listen on {address}: {error}") from error
    async with serving(bound, front.answer, front.identify, context, grace=GRACE_SECONDS) as port:
        front.advertise = advertise(port)
        try:
            yield port
        finally:
            front.sessions.stop()
            with suppress(TimeoutError):
                await eventually(lambda: not len(front.sessions), GRACE_SECONDS)


async def _only_request(call: Call) -> bytes:
    """The one message of a call that has one. Raises Ended."""
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            request, more = await call.read(), await call.read()
    except TimeoutError:
        raise Ended(MALFORMED) from None
    if request is None or more is not None:
        raise Ended(MALFORMED)
    return request


def _remaining(call: Call, longest: float | None = None) -> float | None:
    """Seconds until the call's deadline; where it has none, `longest`."""
    if call.deadline is None:
        return longest
    remaining = max(0.0, call.deadline - asyncio.get_running_loop().time())
    return remaining if longest is None else min(remaining, longest)
