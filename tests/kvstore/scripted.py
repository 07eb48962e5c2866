"""A gRPC server that answers as a test says: for what a healthy etcd never does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from kvstore import messages as m
from kvstore.methods import RANGE, WATCH

CLUSTER = 0xC1
Watch = Callable[
    [AsyncIterator[m.WatchRequest], Callable[[m.WatchResponse], Awaitable[None]]], Awaitable[None]
]


def header(revision: int = 1) -> m.ResponseHeader:
    return m.ResponseHeader(cluster_id=CLUSTER, revision=revision)


def put(key: bytes, value: bytes = b"") -> m.Event:
    return m.Event(kv=m.KeyValue(key=key, value=value))


@asynccontextmanager
async def scripted(
    watch: Watch, pages: list[m.RangeResponse] | None = None, requests: list[m.RangeRequest] | None = None
) -> AsyncIterator[str]:
    """A server with these answers to Range, one after the other (default: an empty list)."""
    answers = list(pages or [])

    async def range_(request: m.RangeRequest, _: Any) -> m.RangeResponse:
        if requests is not None:
            requests.append(request)
        return answers.pop(0) if answers else m.RangeResponse(header=header())

    async def watch_(incoming: AsyncIterator[m.WatchRequest], context: Any) -> None:
        await watch(incoming, context.write)

    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    for method, handler in (
        (RANGE, grpc.unary_unary_rpc_method_handler),
        (WATCH, grpc.stream_stream_rpc_method_handler),
    ):
        service, name = method.path.strip("/").split("/")
        behaviour = range_ if method is RANGE else watch_
        handlers = {name: handler(behaviour, method.request.FromString, method.response.SerializeToString)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
