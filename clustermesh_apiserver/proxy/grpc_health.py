"""gRPC's own health service (grpc.health.v1), for load balancers and probes that speak it.

Its two messages are one field each, so they are written by hand: a text, and a number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from clustermesh_apiserver.proxy.status import STOPPING, Status

CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
LOOK_SECONDS = 1.0  # between two looks for a change to tell a watcher
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
_UNKNOWN_SERVICE = Status(grpc.StatusCode.NOT_FOUND, "unknown service")


class HealthService:
    """Speaks for the proxy as a whole, which is the service without a name."""

    def __init__(self, is_serving: Callable[[], bool]) -> None:
        self._is_serving = is_serving

    async def check(self, request: bytes, context: Any) -> bytes:
        await _require_whole(request, context)
        return self._answer()

    async def watch(self, context: Any, is_stopping: Callable[[], bool]) -> None:
        """The state now, then each change. Ends with the client."""
        await _require_whole(await context.read(), context)
        last = b""
        while not is_stopping():
            if (answer := self._answer()) != last:
                await context.write(answer)
                last = answer
            await asyncio.sleep(LOOK_SECONDS)
        await STOPPING.abort(context)

    def _answer(self) -> bytes:
        return SERVING if self._is_serving() else NOT_SERVING


async def _require_whole(request: Any, context: Any) -> None:
    if request not in (b"", b"\x0a\x00"):  # no name, or an empty one
        await _UNKNOWN_SERVICE.abort(context)
