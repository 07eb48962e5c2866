"""An etcd v3 backend on grpc.aio.

Promises: every call has a time-out and raises only KVStoreErrors; no request is sent twice; every
answer is checked to come from the etcd cluster first seen; a broken connection is dialled anew, next
endpoint first, with the certificate files as they are then. It does not retry: what to do about a
TransientError is the caller's to decide (`kvstore.watchstore`, `kvstore.syncstore`).

Not covered: etcd before 3.4.34, 3.5.16 and 3.6 loses a deletion when somebody compacts at exactly its
revision before our watch has caught up (etcd issue 18089). The next list repairs that.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import grpc
import grpc.aio

from kvstore import listing, methods, watching
from kvstore import messages as m
from kvstore.backend import KeyValue, ModRevisionIs, Op, PutOp
from kvstore.clusterguard import ClusterGuard
from kvstore.config import EtcdConfig
from kvstore.errors import KVStoreError, LeaseLostError, TransientError
from kvstore.link import REQUIRE_LEADER, Link, Links, Resolve, by_dns
from kvstore.methods import Method, Request, Response
from kvstore.ranges import prefix_range
from kvstore.rpcerrors import doubts_link, from_status
from kvstore.watch import Event, Listed, Listing

CALL_TIMEOUT_SECONDS = 15.0  # etcd itself gives up on a request after about 7 s
PAGE_TIMEOUT_SECONDS = 60.0  # one page of a list is up to 16 MB, perhaps over a slow link between sites
LISTED_AT_ONCE = 4096  # of a page of up to 50,000: about 2 ms, so that other tasks get a turn
MAX_TXN_OPS = 128  # etcd's default limit


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """For health, CLI and metrics. `cluster_id` is 0 before the first answer."""

    connected: bool
    endpoint: str
    cluster_id: int
    error: str


@asynccontextmanager
async def connect(
    config: EtcdConfig, *, chance: random.Random | None = None, resolve: Resolve = by_dns
) -> AsyncIterator[EtcdBackend]:
    """A backend for the block. Nothing is dialled before the first call, so the server may be down.

    `resolve` is asked at every dialling for the addresses of hosts that the configuration gives none for.
    """
    async with aclosing(Links(config, chance or random.Random(), resolve)) as links:
        yield EtcdBackend(links)


class EtcdBackend:
    """Satisfies `kvstore.backend.Backend`. Pinned to the etcd cluster that answers first."""

    def __init__(self, links: Links, *, silence_seconds: float = watching.SILENCE_SECONDS) -> None:
        self._links = links
        self._guard = ClusterGuard()
        self._silence_seconds = silence_seconds

    @property
    def cluster_id(self) -> int:
        return self._guard.cluster_id

    def status(self) -> ConnectionStatus:
        endpoint = self._links.endpoint
        return ConnectionStatus(bool(endpoint), endpoint, self.cluster_id, self._links.error)

    # reading

    async def get(self, key: bytes) -> KeyValue | None:
        answer = await self._call(methods.RANGE, m.RangeRequest(key=key))
        return _key_value(answer.kvs[0]) if answer.kvs else None

    async def get_prefix(self, prefix: bytes) -> list[KeyValue]:
        async with self._links.use() as link, aclosing(self._pages(link, *prefix_range(prefix))) as pages:
            return [_key_value(kv) async for page in pages for kv in page.response.kvs]

    def listwatch(
        self, prefix: bytes, *, single: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        # aclosing: leaving the block ends the stream at once, not when the garbage collector comes by
        key, range_end = (prefix, b"") if single else prefix_range(prefix)
        return aclosing(self._listwatch(key, range_end))

    async def _listwatch(self, key: bytes, range_end: bytes) -> AsyncGenerator[Event, None]:
        async with self._links.use() as link:
            revision = 0
            async with aclosing(self._pages(link, key, range_end)) as pages:
                async for page in pages:
                    revision = page.revision
                    kvs = page.response.kvs
                    for start in range(0, len(kvs), LISTED_AT_ONCE):
                        yield Listing([(kv.key, kv.value) for kv in kvs[start : start + LISTED_AT_ONCE]])
                        await asyncio.sleep(0)
            yield Listed(revision)
            stream = watching.changes(
                link,
                key,
                range_end,
                revision + 1,
                check=self._guard.check,
                failed=self._failed,
                silence_seconds=self._silence_seconds,
            )
            async with aclosing(stream) as changes:
                async for change in changes:
                    yield change

    async def _pages(self, link: Link, key: bytes, range_end: bytes) -> AsyncGenerator[listing.Page, None]:
        call = _callable(link, methods.RANGE)

        def ask(request: m.RangeRequest) -> listing.Pending:
            pending = call(request, timeout=PAGE_TIMEOUT_SECONDS, metadata=REQUIRE_LEADER)
            return cast("listing.Pending", pending)

        try:
            async with aclosing(listing.pages(ask, key, range_end)) as pages:
                async for page in pages:
                    self._guard.check(page.response.header)
                    yield page
        except grpc.aio.AioRpcError as error:
            raise self._failed(link, error) from error

    # writing

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> None:
        await self._call(methods.PUT, m.PutRequest(key=key, value=value, lease=lease))

    async def delete(self, key: bytes) -> bool:
        answer = await self._call(methods.DELETE_RANGE, m.DeleteRangeRequest(key=key))
        return answer.deleted > 0

    async def delete_prefix(self, prefix: bytes) -> int:
        key, range_end = prefix_range(prefix)
        request = m.DeleteRangeRequest(key=key, range_end=range_end)
        answer = await self._call(methods.DELETE_RANGE, request)
        return answer.deleted

    async def txn(self, ops: Sequence[Op], guards: Sequence[ModRevisionIs] = ()) -> bool:
        if len(ops) > MAX_TXN_OPS:
            raise ValueError(f"{len(ops)} operations in one transaction, more than {MAX_TXN_OPS}")
        request = m.TxnRequest(compare=map(_compare, guards), success=map(_request_op, ops))
        answer = await self._call(methods.TXN, request)
        return answer.succeeded

    # leases

    async def lease_grant(self, ttl_seconds: int) -> int:
        answer = await self._call(methods.LEASE_GRANT, m.LeaseGrantRequest(TTL=ttl_seconds))
        return answer.ID

    async def lease_keepalive(self, lease: int) -> int:
        # a stream in etcd's API; opened for one refresh, it needs no reader task and no state of its own
        request = m.LeaseKeepAliveRequest(ID=lease)
        async with self._links.use() as link:
            method = methods.LEASE_KEEPALIVE
            open_stream = link.channel.stream_stream(
                method.path, method.request.SerializeToString, method.response.FromString
            )
            stream = open_stream(iter((request,)), timeout=CALL_TIMEOUT_SECONDS, metadata=REQUIRE_LEADER)
            try:
                answer = await anext(aiter(stream), None)
            except grpc.aio.AioRpcError as error:
                raise self._failed(link, error) from error
            finally:
                stream.cancel()
        if answer is None:
            raise TransientError("the server ended a lease's keepalive without an answer")
        self._guard.check(answer.header)
        if answer.TTL <= 0:
            raise LeaseLostError(f"lease {lease:x} has expired")
        return cast("int", answer.TTL)

    async def lease_revoke(self, lease: int) -> None:
        try:
            await self._call(methods.LEASE_REVOKE, m.LeaseRevokeRequest(ID=lease))
        except LeaseLostError:
            return  # gone already: that is what was wanted

    async def compact(self, revision: int) -> None:
        """Forget the history before `revision` (etcd normally does so itself)."""
        await self._call(methods.COMPACT, m.CompactionRequest(revision=revision))

    async def _call(self, method: Method[Request, Response], request: Request) -> Response:
        async with self._links.use() as link:
            try:
                call = _callable(link, method)
                answer = await call(request, timeout=CALL_TIMEOUT_SECONDS, metadata=REQUIRE_LEADER)
            except grpc.aio.AioRpcError as error:
                raise self._failed(link, error) from error
        self._guard.check(answer.header)
        return cast("Response", answer)

    def _failed(self, link: Link, error: Any) -> KVStoreError:
        """Our error for gRPC's; a link in doubt is retired, so that the next call dials the next one."""
        text = error.details() or ""
        if doubts_link(error.code()):
            self._links.retire(link, f"{link.endpoint}: {text}")
        return from_status(error.code(), text, link.endpoint)


def _callable(link: Link, method: Method[Request, Response]) -> Any:
    return link.channel.unary_unary(method.path, method.request.SerializeToString, method.response.FromString)


def _key_value(kv: m.KeyValue) -> KeyValue:
    return KeyValue(kv.key, kv.value, kv.mod_revision, kv.lease)


def _compare(guard: ModRevisionIs) -> m.Compare:
    return m.Compare(
        result="EQUAL",
        target="MOD",
        key=guard.key,
        mod_revision=guard.revision,
    )


def _request_op(op: Op) -> m.RequestOp:
    if isinstance(op, PutOp):
        return m.RequestOp(request_put=m.PutRequest(key=op.key, value=op.value, lease=op.lease))
    return m.RequestOp(request_delete_range=m.DeleteRangeRequest(key=op.key, range_end=op.range_end))
