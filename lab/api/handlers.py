"""The verbs on stored objects: from an HTTP request to `Objects`, a list or a watch, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from aiohttp import web

from lab.api.collection import Stored
from lab.api.jsonpatch import json_patch
from lab.api.kinds import Kind
from lab.api.list import ListRequest, answer_list, encode_list, list_meta, served
from lab.api.meta import must_have_version
from lab.api.objects import Objects, Where
from lab.api.patch import merge_patch, strategic_merge
from lab.api.paths import Target
from lab.api.requests import answer, is_true, number, read_body, unsupported
from lab.api.scale import as_scale, with_scale
from lab.api.selectors import selection
from lab.api.status import bad_request, method_not_allowed, no_such_path, not_found, success
from lab.api.store import Store
from lab.api.tables import encode_table, wants_table
from lab.api.watch import DEFAULT_SECONDS, WatchRequest, watch_lines

Json = dict[str, Any]
Edit = Callable[[Json], Json]

WRITE_SECONDS = 30.0  # a watcher that takes nothing for this long is cut off
_APPLY = "application/apply-patch+yaml"
_RETURNED_WHEN_DELETED = frozenset({"Pod", "Service", "ServiceAccount"})  # as real servers do


class ObjectHandlers:
    """Everything but the subresources that concern running pods."""

    def __init__(self, store: Store, objects: Objects) -> None:
        self._store = store
        self._objects = objects

    async def handle(self, request: web.Request, target: Target, kind: Kind) -> web.StreamResponse:
        where = Where(
            kind,
            target.namespace,
            target.name,
            target.subresource,
            dry_run="All" in request.query.getall("dryRun", []),
        )
        self._check_subresource(where)
        if target.name:
            return await self._object_verb(request, where)
        return await self._collection_verb(request, where)

    def _check_subresource(self, where: Where) -> None:
        known = {"": True, "status": where.kind.has_status, "scale": where.kind.has_scale}
        known["finalize"] = where.kind.name == "Namespace"
        if not known.get(where.subresource, False):
            raise no_such_path()

    async def _collection_verb(self, request: web.Request, where: Where) -> web.StreamResponse:
        match request.method:
            case "GET" if is_true(request.query, "watch"):
                return await self._watch(request, where)
            case "GET":
                return self._list(request, where)
            case "POST" if where.namespace or not where.kind.resource.namespaced:
                created = await self._objects.create(where, await read_body(request))
                return _one(where.kind, created, 201)
            case "DELETE":
                wanted = _wanted(request, where)
                await self._objects.delete_collection(where, await _options(request), wanted)
                return answer(success())
        raise method_not_allowed()

    async def _object_verb(self, request: web.Request, where: Where) -> web.StreamResponse:
        match request.method:
            case "GET" if is_true(request.query, "watch"):
                return await self._watch(request, where)
            case "GET":
                return self._get(request, where)
            case "PUT":
                return await self._put(request, where)
            case "PATCH":
                return await self._patch(request, where)
            case "DELETE" if not where.subresource:
                return await self._delete(request, where)
        raise method_not_allowed()

    def _get(self, request: web.Request, where: Where) -> web.Response:
        stored = self._store.get(where.kind, where.namespace, where.name)
        if stored is None:
            raise not_found(where.kind.plural, where.kind.group, where.name)
        if wants_table(request.headers.get("Accept", "")) and not where.subresource:
            return answer(encode_table(where.kind, [stored], {"resourceVersion": str(stored.revision)}))
        return _written(where, stored)

    def _list(self, request: web.Request, where: Where) -> web.Response:
        asked = ListRequest(
            where.kind,
            _prefix(where),
            _wanted(request, where),
            number(request.query, "limit"),
            request.query.get("continue", ""),
        )
        listed = answer_list(asked, self._store.of_kind(where.kind), self._store.revision)
        if wants_table(request.headers.get("Accept", "")):
            return answer(encode_table(where.kind, listed.items, list_meta(listed)))
        return answer(encode_list(where.kind, listed))

    async def _watch(self, request: web.Request, where: Where) -> web.StreamResponse:
        number(request.query, "resourceVersion")  # refused while there still can be a status line
        asked = WatchRequest(
            where.kind,
            _prefix(where),
            _wanted(request, where),
            request.query.get("resourceVersion", ""),
            float(number(request.query, "timeoutSeconds") or DEFAULT_SECONDS),
            is_true(request.query, "allowWatchBookmarks"),
            is_true(request.query, "sendInitialEvents"),
        )
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        async with aclosing(watch_lines(asked, self._store)) as lines:
            async for line in lines:
                async with asyncio.timeout(WRITE_SECONDS):
                    await response.write(line)
        return response

    async def _put(self, request: web.Request, where: Where) -> web.Response:
        body = await read_body(request)
        if not isinstance(body, dict) or not isinstance(body.get("metadata", {}), dict):
            raise bad_request("the body is no Kubernetes object")
        if where.subresource == "scale":
            return await self._edit(where, lambda old: with_scale(old, body))
        body = {**body, "metadata": body.get("metadata", {})}
        must_have_version(where.kind, body)
        return await self._edit(where, lambda _: body)

    async def _patch(self, request: web.Request, where: Where) -> web.Response:
        patch = await read_body(request)
        edit = _edit_of(where.kind, request.content_type, patch)
        if where.subresource == "scale":
            return await self._edit(where, lambda old: with_scale(old, edit(as_scale(old))))
        return await self._edit(where, edit, or_create=request.content_type == _APPLY)

    async def _edit(self, where: Where, edit: Edit, *, or_create: bool = False) -> web.Response:
        stored, is_new = await self._objects.update(
            where, edit, or_create=or_create and not where.subresource
        )
        return _written(where, stored, 201 if is_new else 200)

    async def _delete(self, request: web.Request, where: Where) -> web.Response:
        options = await _options(request)
        stored = await self._objects.delete(where, options)
        if where.kind.name in _RETURNED_WHEN_DELETED or "deletionTimestamp" in stored.body["metadata"]:
            return _one(where.kind, stored)
        uid = stored.body["metadata"]["uid"]
        details = {"name": where.name, "group": where.kind.group, "kind": where.kind.plural, "uid": uid}
        return answer(success(details))


def _edit_of(kind: Kind, content_type: str, patch: Any) -> Edit:
    if content_type == "application/json-patch+json":
        return lambda old: json_patch(old, patch)
    if not isinstance(patch, dict):
        raise bad_request("the patch is no object")
    if content_type == "application/merge-patch+json":
        return lambda old: merge_patch(old, patch)
    if content_type == "application/strategic-merge-patch+json" and not kind.is_custom:
        return lambda old: strategic_merge(old, patch)
    if content_type == _APPLY:
        return lambda old: merge_patch(old, patch) if kind.is_custom else strategic_merge(old, patch)
    raise unsupported(content_type)


def _prefix(where: Where) -> bytes:
    return where.kind.key(where.namespace, "") if where.namespace else where.kind.prefix


def _wanted(request: web.Request, where: Where) -> Callable[[Json], bool] | None:
    fields = request.query.get("fieldSelector", "")
    if where.name:  # a watch of one object
        fields = ",".join(part for part in (fields, f"metadata.name={where.name}") if part)
    return selection(where.kind.name, request.query.get("labelSelector", ""), fields)


async def _options(request: web.Request) -> Json:
    """DeleteOptions, from the body or, as older clients do, from the query."""
    body = await read_body(request)
    options = body if isinstance(body, dict) else {}
    policy = request.query.get("propagationPolicy")
    return {"propagationPolicy": policy, **options} if policy else options


def _written(where: Where, stored: Stored, status: int = 200) -> web.Response:
    if where.subresource == "scale":
        return answer(as_scale(stored.body), status)
    return _one(where.kind, stored, status)


def _one(kind: Kind, stored: Stored, status: int = 200) -> web.Response:
    return answer(next(iter(served(kind, [stored]))), status)
