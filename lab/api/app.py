"""The web application: who may ask, which handler answers, and errors as `Status` objects."""

from __future__ import annotations

import hmac
import logging

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from kvstore.errors import KVStoreError
from lab.api.discovery import OPENAPI_V2, OPENAPI_V2_PROTOBUF, document
from lab.api.handlers import ObjectHandlers
from lab.api.objects import Objects
from lab.api.paths import Target, parse
from lab.api.pods import PodHandlers
from lab.api.requests import BODY_LIMIT, answer, refusal
from lab.api.status import StatusError, no_such_path, unavailable

log = logging.getLogger(__name__)

_HEALTH = frozenset({"/healthz", "/livez", "/readyz"})
_OPEN = _HEALTH | {"/version"}  # as on a real server, these need no credentials
_POD_SUBRESOURCES = frozenset({"proxy", "exec", "log"})
# What clients ask for is no media type to newer Go libraries: API servers answer with a dot in its place.
_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_ASKS_FOR_PROTOBUF = (_PROTOBUF, _PROTOBUF.replace("v2.v1", "v2@v1"))


def application(objects: Objects, handlers: ObjectHandlers, pods: PodHandlers, token: str) -> web.Application:
    """Answers every path itself: resources come and go with their definitions."""

    async def respond(request: web.Request) -> web.StreamResponse:
        target = parse(request.rel_url.raw_path)
        if target is None:
            return _other(request, objects)
        kind = objects.kinds.find(target.group, target.version, target.plural)
        if kind is None:
            return _document(request, objects)
        if target.namespace and not kind.resource.namespaced:
            raise no_such_path()
        if _is_about_a_running_pod(target):
            return await pods.handle(request, target)
        if target.rest:
            raise no_such_path()
        return await handlers.handle(request, target, kind)

    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[_errors, _authentication(token)])
    app.router.add_route("*", "/{path:.*}", respond)
    return app


def _is_about_a_running_pod(target: Target) -> bool:
    return target.group == "" and target.plural == "pods" and target.subresource in _POD_SUBRESOURCES


def _other(request: web.Request, objects: Objects) -> web.Response:
    if request.path in _HEALTH or request.path.rpartition("/")[0] in _HEALTH:
        return web.Response(text="ok")
    if request.path == "/openapi/v2":
        accepted = request.headers.get("Accept", "")
        if any(name in accepted for name in _ASKS_FOR_PROTOBUF):
            return web.Response(body=OPENAPI_V2_PROTOBUF, content_type=_PROTOBUF)
        return answer(OPENAPI_V2)
    return _document(request, objects)


def _document(request: web.Request, objects: Objects) -> web.Response:
    found = document(request.path, objects.kinds) if request.method == "GET" else None
    if found is None:
        raise no_such_path()
    return answer(found)


def _authentication(token: str) -> Middleware:
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode()
        scheme, _, rest = given.partition(b" ")
        if request.path.rstrip("/") not in _OPEN and not hmac.compare_digest(
            scheme.capitalize() + b" " + rest, expected
        ):
            raise StatusError(401, "Unauthorized", "Unauthorized")
        return await handler(request)

    return check


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except StatusError as error:
        return refusal(error)
    except KVStoreError as error:
        log.warning("etcd does not serve: %s", error)
        return refusal(unavailable(f"etcd: {error}"))
    except (web.HTTPException, ConnectionError, TimeoutError):
        raise  # aiohttp's own answers, and clients that went away
    except Exception as error:  # the server's edge: a bug costs one request
        log.exception("request failed: %s %s", request.method, request.path)
        return refusal(StatusError(500, "InternalError", f"{type(error).__name__}: {error}"))
