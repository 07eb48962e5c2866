"""One API server's objects: read and written; they go in as plain dicts and come out as bytes."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from aiokit.deferred import deferred
from k8s.access import Access
from k8s.connection import Connection, Params
from k8s.differ import covers, with_encoded_secrets, without_nones
from k8s.errors import ConflictError, GoneError, NotFoundError
from k8s.listing import ObjectList, decode_page
from k8s.resource import POD, Resource

if TYPE_CHECKING:
    import aiohttp
else:
    aiohttp = deferred("aiohttp")  # a command's help and completion talk to nobody

PAGE = 500  # objects a page: the size kubectl and client-go use
LIST_ATTEMPTS = 3  # a list whose continue token expires between pages is begun again
APPLY_ATTEMPTS = 5  # rounds of read-compare-write against concurrent writers
MERGE_PATCH = "application/merge-patch+json"

Applied = Literal["created", "changed", "unchanged"]


@asynccontextmanager
async def connect(access: Access) -> AsyncGenerator[Client]:
    """A client that lives as long as the block. Connects on first use."""
    async with aiohttp.ClientSession() as session:
        yield Client(session, access)


class Client(Connection):
    """See the module."""

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
