"""The lab's Kubernetes-compatible API server: aiohttp in front of an etcd.

Promises: the official client, kubectl-style requests and our own client work against it unchanged, for
the built-in kinds of `api_kinds` and whatever CustomResourceDefinitions are created; resourceVersion is
etcd's revision; nothing is kept outside etcd, so a restart continues where the last one ended.
It deliberately leaves out: authorisation (one token may do everything), OpenAPI schemas and their
validation, conversion between versions, graceful deletion, field ownership of server-side apply,
port-forward and following logs. A development and test tool.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from kvstore.backend import Backend
from lab.api.app import application
from lab.api.handlers import ObjectHandlers
from lab.api.objects import Objects
from lab.api.pods import PodHandlers
from lab.api.runtime import PodRuntime
from lab.api.services import ServiceAdmission
from lab.api.store import Store

SHUTDOWN_SECONDS = 2.0  # open requests get this long; watches end at once


@dataclass(frozen=True, slots=True)
class ApiStatus:
    """For health and the CLI."""

    revision: int
    objects: int


class ApiServer:
    """A running server, as seen by whoever runs it. Everything else goes through HTTP."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def status(self) -> ApiStatus:
        return ApiStatus(self._store.revision, sum(len(entry.objects) for entry in self._store.collections()))

    def compact(self) -> None:
        """Forget all history, as etcd's compaction makes a real server do: for tests and fault drills."""
        self._store.forget_history()


@asynccontextmanager
async def serving(
    backend: Backend,
    *,
    sockets: Sequence[socket.socket],
    tls: ssl.SSLContext,
    token: str,
    service_cidr: str,
    runtime: PodRuntime,
    service_cidr6: str = "",
) -> AsyncGenerator[ApiServer]:
    """Serve on bound sockets (this takes them over) while the block runs. `service_cidr6`: "" without
    IPv6."""
    store = Store(backend)
    objects = Objects(store, [ServiceAdmission(*filter(None, (service_cidr, service_cidr6)))])
    async with store.running(), aiohttp.ClientSession() as session:
        await objects.ensure_namespaces()
        app = application(
            objects, ObjectHandlers(store, objects), PodHandlers(store, runtime, session), token
        )
        runner = web.AppRunner(
            app,
            handle_signals=False,
            access_log=None,
            shutdown_timeout=SHUTDOWN_SECONDS,
            handler_cancellation=True,
        )
        await runner.setup()
        try:
            for listening in sockets:
                await web.SockSite(runner, listening, ssl_context=tls).start()
            yield ApiServer(store)
        finally:
            store.close()
            await _end(runner)


async def _end(runner: web.AppRunner) -> None:
    """Close every connection; one whose client never answers TLS's goodbye is cut off."""
    server = runner.server
    open_transports = [entry.transport for entry in server.connections if entry.transport] if server else []
    await runner.cleanup()
    for transport in open_transports:
        with suppress(AttributeError):  # Python 3.11's TLS transport, when it is closed already
            transport.abort()
    await asyncio.sleep(0)  # abort closes the sockets in the loop's next round
