"""One API server, spoken to with raw bytes: read, write, and open watches.

Every call has a time-out and raises KubernetesError classes; nothing is retried here, except once when
one side does not believe the other and our credentials can be read again from their source.
Objects go in as plain dicts and come out as bytes.
"""

from __future__ import annotations

import asyncio
import builtins
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from aiokit.deferred import deferred
from aiokit.wait import eventually
from k8s import clock
from k8s.access import Access, tls_context
from k8s.differ import covers, with_encoded_secrets, without_nones
from k8s.errors import AccessError, ConflictError, GoneError, NotFoundError, UnreachableError, from_answer
from k8s.execute import MAX_OUTPUT, PROTOCOLS, Executed, collected
from k8s.listing import ObjectList, decode_page
from k8s.resource import POD, Resource

if TYPE_CHECKING:
    import aiohttp
else:
    aiohttp = deferred("aiohttp")  # a command's help and completion talk to nobody

REQUEST_SECONDS = 30.0  # a healthy API server answers a large page within seconds
CONNECT_SECONDS = 5.0
EXECUTE_SECONDS = 120.0  # our commands in pods end by themselves long before
CLOSE_SECONDS = 1.0
RENEW_SECONDS = 30.0  # a credential plugin may have to ask a cloud
PAGE = 500  # objects a page: the size kubectl and client-go use
LIST_ATTEMPTS = 3  # a list whose continue token expires between pages is begun again
APPLY_ATTEMPTS = 5  # rounds of read-compare-write against concurrent writers
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"

Applied = Literal["created", "changed", "unchanged"]
Params = Mapping[str, str]


@asynccontextmanager
async def connect(access: Access) -> AsyncGenerator[Client]:
    """A client that lives as long as the block. Connects on first use."""
    tls = _usable_tls(access)
    async with aiohttp.ClientSession() as session:
        yield Client(session, access, tls)


class Client:
    """See the module. One connection pool; safe to share between tasks."""

    def __init__(self, session: aiohttp.ClientSession, access: Access, tls: ssl.SSLContext) -> None:
        self._session = session
        self._access = access
        self._tls = tls
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

    async def get(self, resource: Resource, name: str, namespace: str = "") -> bytes | None:
        """The object's JSON, or None when there is no such object or no such kind."""
        try:
            return await self.request("GET", resource.path(namespace=namespace, name=name))
        except NotFoundError:
            return None

    async def list(
        self, resource: Resource, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> builtins.list[bytes]:
        """All objects of a kind, as JSON each."""
        params = selectors(label_selector, field_selector)
        listed = await self.list_all(resource, namespace, params)
        return [bytes(item) for item in listed.items]

    async def list_all(self, resource: Resource, namespace: str, params: Params) -> ObjectList:
        """List page by page; begun again when the server forgets the list between two pages."""
        for _ in range(LIST_ATTEMPTS - 1):
            try:
                return await self._list_once(resource, namespace, params)
            except GoneError:
                continue
        return await self._list_once(resource, namespace, params)

    async def create(self, resource: Resource, body: dict[str, Any], namespace: str = "") -> bytes:
        """Raises ConflictError when it exists already."""
        namespace = namespace or namespace_of(body)
        return await self.request("POST", resource.path(namespace=namespace), body=_named(resource, body))

    async def replace(self, resource: Resource, body: dict[str, Any], namespace: str = "") -> bytes:
        """Raises ConflictError when `metadata.resourceVersion` is given and no longer current."""
        path = resource.path(namespace=namespace or namespace_of(body), name=body["metadata"]["name"])
        return await self.request("PUT", path, body=_named(resource, body))

    async def apply(self, resource: Resource, body: dict[str, Any], namespace: str = "") -> Applied:
        """Make the object hold everything `body` says, and write only when it does not.

        What `body` does not mention stays; a key is removed by giving it as None; lists are replaced.
        """
        wanted = with_encoded_secrets(body)
        name, namespace = wanted["metadata"]["name"], namespace or namespace_of(wanted)
        for attempt in range(APPLY_ATTEMPTS):
            current = await self.get(resource, name, namespace)
            try:
                if current is None:
                    await self.create(resource, without_nones(wanted), namespace)
                    return "created"
                if covers(msgspec.json.decode(current), _named(resource, wanted)):
                    return "unchanged"
                await self.merge_patch(resource, name, wanted, namespace)
                return "changed"
            except (ConflictError, NotFoundError) as error:
                lost_race = isinstance(error, ConflictError) or current is not None
                if not lost_race or attempt == APPLY_ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def merge_patch(
        self,
        resource: Resource,
        name: str,
        patch: dict[str, Any],
        namespace: str = "",
        subresource: str = "",
    ) -> bytes:
        path = resource.path(namespace=namespace, name=name, subresource=subresource)
        return await self.request("PATCH", path, body=patch, content_type=MERGE_PATCH)

    async def delete(self, resource: Resource, name: str, namespace: str = "") -> bool:
        """Whether it was there to delete."""
        try:
            await self.request("DELETE", resource.path(namespace=namespace, name=name))
        except NotFoundError:
            return False
        return True

    async def proxy_get(self, pod_name: str, namespace: str, port: int, path: str) -> bytes:
        """GET from a pod's own HTTP server, through the API server."""
        base = POD.path(namespace=namespace, name=f"{pod_name}:{port}", subresource="proxy")
        return await self.request("GET", f"{base}/{path.lstrip('/')}")

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

    async def _list_once(self, resource: Resource, namespace: str, params: Params) -> ObjectList:
        path = resource.path(namespace=namespace)
        query = {**params, "limit": str(PAGE)}
        items: builtins.list[msgspec.Raw] = []
        while True:
            page = decode_page(await self.request("GET", path, params=query))
            items += page.items or []
            if not page.metadata.continue_:
                return ObjectList(items, page.metadata.resourceVersion)
            query["continue"] = page.metadata.continue_

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


def selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    """The query parameters for a selection; empty selectors are left out."""
    given = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {name: value for name, value in given.items() if value}


def namespace_of(body: Mapping[str, Any]) -> str:
    namespace: str = body.get("metadata", {}).get("namespace", "")
    return namespace


def _named(resource: Resource, body: dict[str, Any]) -> dict[str, Any]:
    """The body with its kind filled in: servers insist on it."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, **body}
