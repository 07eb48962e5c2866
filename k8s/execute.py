"""Running a command in a pod: the frames of Kubernetes' exec over a WebSocket (protocols v4 and v5).

Each frame begins with a channel's number; channel 3 has the `Status` that ends it. Output is kept in memory,
so it is bounded. Standard input is not offered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from aiokit.deferred import deferred
from k8s.errors import APIError, UnreachableError, from_answer

if TYPE_CHECKING:
    import aiohttp
else:
    aiohttp = deferred("aiohttp")  # see k8s.client

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
MAX_OUTPUT = 32 << 20
_STDOUT, _STDERR, _ERROR = 1, 2, 3


class Executed(NamedTuple):
    code: int
    stdout: bytes
    stderr: bytes


class _Cause(msgspec.Struct):
    reason: str = ""
    message: str = ""


class _Details(msgspec.Struct):
    causes: list[_Cause] = []


class _Status(msgspec.Struct):
    status: str = ""
    reason: str = ""
    details: _Details | None = None


async def collected(socket: aiohttp.ClientWebSocketResponse) -> Executed:
    """Read to the end. Raises APIError when the command could not be run, UnreachableError when the
    connection ended before the command, or the output has no end."""
    channels = {_STDOUT: bytearray(), _STDERR: bytearray()}
    status = b""
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == _ERROR:
            status += data
        elif channel in channels:
            channels[channel] += data
            if len(channels[channel]) > MAX_OUTPUT:
                raise UnreachableError(f"the command's output is larger than {MAX_OUTPUT >> 20} MiB")
    if not status:
        raise UnreachableError("the connection to the command ended before it did")
    return Executed(_code(status), bytes(channels[_STDOUT]), bytes(channels[_STDERR]))


def _code(body: bytes) -> int:
    try:
        told = msgspec.json.decode(body, type=_Status)
    except msgspec.MsgspecError as error:
        raise APIError(500, "Unknown", f"the end of a command is not understood: {error}") from error
    if told.status == "Success":
        return 0
    if told.reason == "NonZeroExitCode":
        for cause in told.details.causes if told.details else ():
            if cause.reason == "ExitCode" and cause.message.isdecimal():
                return int(cause.message)
    raise from_answer(0, body)
