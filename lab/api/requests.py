"""Reading HTTP requests of the lab's API and writing its answers."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml
from aiohttp import web
from multidict import MultiMapping

from lab.api.status import StatusError, bad_request

Json = dict[str, Any]

BODY_LIMIT = 3 << 20  # what a real API server accepts
_JSON = "application/json"
_TRUE = frozenset({"1", "t", "true", "True", "TRUE"})


async def read_body(request: web.Request) -> Any:
    """The body as plain data; None when it is empty. Raises StatusError 400, 413 or 415."""
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise StatusError(413, "RequestEntityTooLarge", "the request is too large") from error
    if not raw.strip():
        return None
    try:
        if request.content_type.endswith(("+yaml", "/yaml")):
            return yaml.load(raw, Loader=yaml.CSafeLoader)
        if request.content_type.endswith(("+json", "/json")) or "Content-Type" not in request.headers:
            return msgspec.json.decode(raw)
    except (yaml.YAMLError, ValueError) as error:
        raise bad_request(f"the body cannot be read: {error}") from error
    raise unsupported(request.content_type)


def unsupported(content_type: str) -> StatusError:
    return StatusError(
        415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {content_type}"
    )


def is_true(query: MultiMapping[str], name: str) -> bool:
    return query.get(name, "") in _TRUE


def number(query: MultiMapping[str], name: str) -> int:
    """A non-negative number; 0 when it is not given."""
    text = query.get(name) or "0"
    if not text.isdigit():
        raise bad_request(f"{name} must be a number: {text!r}")
    return int(text)


def answer(body: Json | bytes, status: int = 200) -> web.Response:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return web.Response(body=raw, status=status, content_type=_JSON)


def refusal(error: StatusError) -> web.Response:
    return answer(error.body(), error.code)
