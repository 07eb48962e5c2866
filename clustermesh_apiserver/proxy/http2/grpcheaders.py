"""gRPC's part of headers: deadlines and content types read, statuses and metadata written. Pure.

Headers are written without the compression's table, so nothing has to be remembered for a connection.
"""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from urllib.parse import quote

import hpack

from clustermesh_apiserver.proxy.http2.frame import Code, StreamFault
from clustermesh_apiserver.proxy.http2.headers import Request
from clustermesh_apiserver.proxy.status import Metadata, Status

_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
_MAX_DETAILS = 1000  # characters: clients refuse headers that are longer than some 8 kB
NO_TABLE = b"\x20"  # before the first block of a connection: the compression's table has no room


def timeout(request: Request) -> float | None:
    """Seconds that the client gives the call; None: any. Raises StreamFault."""
    text = request.value("grpc-timeout")
    if not text:
        return None
    match = _TIMEOUT.fullmatch(text)
    if match is None:
        raise StreamFault(Code.PROTOCOL_ERROR, "grpc-timeout says no time")
    return int(match[1]) * _SECONDS[match[2]]


def http_refusal(request: Request) -> int:
    """The HTTP status of a request that is not gRPC's; 0: it is."""
    if request.method != "POST":
        return 405
    kind = request.value("content-type")
    is_grpc = kind == "application/grpc" or kind.startswith(("application/grpc+", "application/grpc;"))
    return 0 if is_grpc else 415


@lru_cache(16)
def refused(http_status: int) -> bytes:
    """The headers of an answer that has nothing else."""
    return _block([(":status", str(http_status))])


@lru_cache(1)
def opening() -> bytes:
    """The headers before the first message of an answer."""
    return _block(_opening())


def closing(status: Status, *, is_first: bool) -> bytes:
    """The trailers; `is_first`: there was no message, so they are headers and trailers in one."""
    headers = [("grpc-status", str(status.code.value[0]))]
    if status.details:
        headers.append(("grpc-message", quote(status.details[:_MAX_DETAILS], safe=_PRINTABLE)))
    return _block([*(_opening() if is_first else ()), *headers, *_written(status.trailing)])


def _opening() -> list[tuple[str, str]]:
    return [
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("grpc-accept-encoding", "identity"),
    ]


def _written(metadata: Metadata) -> list[tuple[str, str]]:
    """As text: what is binary is told so by its name, and travels in base 64."""
    return [
        (name, base64.b64encode(value).decode().rstrip("=") if isinstance(value, bytes) else value)
        for name, value in metadata
    ]


def _block(headers: list[tuple[str, str]]) -> bytes:
    never = [hpack.NeverIndexedHeaderTuple(name, value) for name, value in headers]
    return hpack.Encoder().encode(never, huffman=False)
