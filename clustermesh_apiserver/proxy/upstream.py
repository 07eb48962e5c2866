"""The etcd behind the proxy: one channel, raw bytes, and whether it answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from aiokit.health import Health
from clustermesh_apiserver.proxy.method import STATUS
from clustermesh_apiserver.proxy.metric import Metrics
from kvstore import messages

PROBE_SECONDS = 2.0  # how often etcd is asked how it is, and how long it may take to answer
OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # an unpaged list of 500,000 keys is 370 MiB
    ("grpc.max_send_message_length", -1),
    # etcd restarts in a second: a client that comes back then must not wait for gRPC's default minutes
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5000),  # in fact the time that one attempt may take
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
)

log = logging.getLogger(__name__)


class Upstream:
    """Calls etcd's methods by path with serialised messages."""

    def __init__(self, channel: Any, metrics: Metrics) -> None:
        self.health = Health()
        self._channel = channel
        self._metrics = metrics

    def unary(self, path: str) -> Any:
        return self._channel.unary_unary(path)

    def stream(self, path: str) -> Any:
        return self._channel.stream_stream(path)

    async def status(self) -> messages.StatusResponse:
        """What etcd says of itself now. Raises grpc.aio.AioRpcError."""
        answer = await self.unary(STATUS.path)(b"", timeout=PROBE_SECONDS)
        return messages.StatusResponse.FromString(answer)

    async def probe(self) -> None:
        """Ask etcd how it is, again and again, until cancelled."""
        while True:
            try:
                header = (await self.status()).header
            except grpc.aio.AioRpcError as error:
                if self.health.status().level == "ok":
                    log.warning("etcd does not answer code=%s", error.code().name)
                self.health.degraded("etcd does not answer", error.code().name)
                self._metrics.upstream_up.set(0)
            else:
                self.health.ok(f"etcd answers, cluster {header.cluster_id:x}")
                self._metrics.upstream_up.set(1)
            await asyncio.sleep(PROBE_SECONDS)


@asynccontextmanager
async def connect(target: str, metrics: Metrics) -> AsyncGenerator[Upstream]:
    """A channel to `target` (host:port) that is closed in the end. Does not wait for an answer."""
    async with grpc.aio.insecure_channel(target, options=OPTIONS) as channel:
        yield Upstream(channel, metrics)
