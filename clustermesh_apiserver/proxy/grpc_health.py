"""gRPC's own health service (grpc.health.v1), for load balancers and probes that speak it.

Its two messages are one field each, so they are written by hand: a text, and a number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc

from clustermesh_apiserver.proxy.call import Call
from clustermesh_apiserver.proxy.status import STOPPING, Ended, Status

CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
LOOK_SECONDS = 1.0  # between two looks for a change to tell a watcher
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
_UNKNOWN_SERVICE = Status(grpc.StatusCode.NOT_FOUND, "unknown service")


class HealthService:
    """Speaks for the proxy as a whole, which is the service without a name."""

    def __init__(self, is_serving: Callable[[], bool]) -> None:
        self._is_serving = is_serving

    def check(self, request: bytes | None) -> bytes:
        """Raises Ended."""
        _require_whole(request)
        return SERVING if self._is_serving() else NOT_SERVING

    async def watch(self, call: Call, is_stopping: Callable[[], bool]) -> Status:
        """The state now, then each change, while we run. Ends with the client. Raises Ended."""
        request, last = await call.read(), b""
        while not is_stopping():
            if (answer := self.check(request)) != last:
                await call.write(answer)
                last = answer
            await asyncio.sleep(LOOK_SECONDS)
        return STOPPING


def _require_whole(request: bytes | None) -> None:
    if request not in (b"", b"\x0a\x00"):  # no name, or an empty one
        raise Ended(_UNKNOWN_SERVICE)
