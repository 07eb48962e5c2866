"""How the REST API answers, and whom its handlers ask."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from agent.agent import Agent
from agent.errors import NotReadyError
from agent.lifecycle import Lifecycle

AGENT: web.AppKey[Agent] = web.AppKey("agent", Agent)


def reply(value: Any, code: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=code, content_type="application/json")


def lifecycle_of(request: web.Request) -> Lifecycle:
    """NotReadyError while the agent starts."""
    lifecycle = request.app[AGENT].lifecycle
    if lifecycle is None:
        raise NotReadyError("the agent is starting")
    return lifecycle
