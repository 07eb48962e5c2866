"""The way to one API server: requests with our credentials, their answers or errors.

Every call has a time-out and raises KubernetesError classes; nothing is retried here, except once when
one side does not believe the other and our credentials can be read again from their source.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from aiokit.deferred import deferred
from aiokit.wait import eventually
from k8s import clock
from k8s.access import Access, tls_context
from k8s.errors import AccessError, UnreachableError, from_answer
from k8s.execute import MAX_OUTPUT, PROTOCOLS, Executed, collected
from k8s.resource import POD

if TYPE_CHECKING:
    import aiohttp
else:
    aiohttp = deferred("aiohttp")  # a command's help and completion talk to nobody

REQUEST_SECONDS = 30.0  # a healthy API server answers a large page within seconds
CONNECT_SECONDS = 5.0
EXECUTE_SECONDS = 120.0  # our commands in pods end by themselves long before
CLOSE_SECONDS = 1.0
RENEW_SECONDS = 30.0  # a credential plugin may have to ask a cloud
JSON = "application/json"

Params = Mapping[str, str]


class Connection:
    """One connection pool; safe to share between tasks."""

    def __init__(self, session: aiohttp.ClientSession, access: Access) -> None:
        self._session = session
        self._access = access
        self._tls = _usable_tls(access)
        self._ahead: timedelta | None = None  # our clock, of the server's

    @property
    def namespace(self) -> str:
        """The namespace of the kubeconfig's context."""
        return self._access.namespace

    @property
    def server(self) -> str:
        return self._access.server

    async def ahead(self) -> timedelta | None:
        """How far our clock is ahead of the server's; None: it does not tell its time."""
        if self._ahead is None:
            await self.request("GET", "/version")
        return self._ahead

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Any = None,
        content_type: str = JSON,
    ) -> bytes:
        """One call; its body, or the error of its `Status`."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, connect=CONNECT_SECONDS)
        data = msgspec.json.encode(body) if body is not None else None
        kind = content_type if data is not None else ""
        async with self._answer(method, path, timeout, params=params, data=data, content_type=kind) as answer:
            return await answer.read()

    @asynccontextmanager
    async def stream(
        self, path: str, params: Params, timeout: aiohttp.ClientTimeout
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """A GET whose body is read as it comes, in chunks of any size."""
        async with self._answer("GET", path, timeout, params=params) as answer:
            yield answer.content.iter_any()

    async def execute(
        self, pod_name: str, namespace: str, argv: Sequence[str], container: str = ""
    ) -> Executed:
        """Run a command in a pod and wait for its end: needs the right `create` on `pods/exec`."""
        query = [("command", word) for word in argv] + [("stdout", "1"), ("stderr", "1")]
        query += [("container", container)] if container else []
        url = self._access.server + POD.path(namespace=namespace, name=pod_name, subresource="exec")
        try:
            async with (
                asyncio.timeout(EXECUTE_SECONDS),
                self._session.ws_connect(
                    url,
                    params=query,
                    protocols=PROTOCOLS,
                    headers=self._authorization(),
                    ssl=self._tls,
                    server_hostname=self._access.tls_server_name or None,
                    max_msg_size=MAX_OUTPUT,
                ) as socket,
            ):
                raw = socket.get_extra_info("socket")
                found = await collected(socket)
        except aiohttp.WSServerHandshakeError as error:
            text = f"a command cannot be run in pod {namespace}/{pod_name}: {error.message}"
            raise from_answer(error.status, text.encode()) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            text = str(error) or type(error).__name__
            raise UnreachableError(f"exec in pod {namespace}/{pod_name}: {text}") from error
        with suppress(TimeoutError):  # TLS takes leave in the background: a loop must not end before that
            await eventually(lambda: raw.fileno() < 0, CLOSE_SECONDS, 0.002)
        return found

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        timeout: aiohttp.ClientTimeout,
        *,
        params: Params | None = None,
        data: bytes | None = None,
        content_type: str = "",
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """A successful answer. Connection errors, also while the body is read, are UnreachableError."""
        headers = {"Accept": JSON, **({"Content-Type": content_type} if content_type else {})}
        try:
            for may_renew in (self._access.renew is not None, False):
                try:
                    async with self._session.request(
                        method,
                        self._access.server + path,
                        params=params,
                        data=data,
                        headers={**headers, **self._authorization()},
                        timeout=timeout,
                        ssl=self._tls,
                        server_hostname=self._access.tls_server_name or None,
                    ) as answer:
                        self._ahead = clock.ahead(answer.headers.get("Date"), datetime.now(UTC))
                        if answer.status != 401 or not may_renew:
                            if answer.status >= 400:
                                raise from_answer(answer.status, await answer.read())
                            yield answer
                            return
                except aiohttp.ClientConnectorCertificateError:  # its authority may have been replaced
                    if not may_renew:
                        raise
                await self._renew()
        except (aiohttp.ClientError, TimeoutError, OSError, AccessError) as error:
            text = clock.explained(str(error) or type(error).__name__, datetime.now(UTC))
            raise UnreachableError(f"{method} {self._access.server}{path}: {text}") from error

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._access.token}"} if self._access.token else {}

    async def _renew(self) -> None:
        """Raises AccessError while what we read is half written: the next call tries again."""
        renew = self._access.renew
        if renew is None:
            return
        async with asyncio.timeout(RENEW_SECONDS):
            renewed = await asyncio.to_thread(renew)  # reads files, may run a plugin
        self._tls = _usable_tls(renewed)
        self._access = replace(renewed, renew=renew)


def _usable_tls(access: Access) -> ssl.SSLContext:
    try:
        return tls_context(access)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise AccessError(f"credentials for {access.server} are unusable: {error}") from error
