"""Header blocks: received in pieces, decompressed within limits, and checked (RFC 9113, section 8). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

import hpack

from clustermesh_apiserver.proxy.http2.frame import (
    END_STREAM,
    HAS_PRIORITY,
    Code,
    ConnectionFault,
    StreamFault,
    unpadded,
)
from clustermesh_apiserver.proxy.http2.settings import MAX_HEADER_LIST

MAX_BLOCK = 32_768  # compressed bytes of one block, however many frames it comes in
MAX_PIECES = 16  # frames of one block: each could hold 16 kB
# What is decompressed before we hang up; between this and MAX_HEADER_LIST only the stream ends.
_MAX_DECODED = 2 * MAX_BLOCK
_NAME = re.compile(r":?[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE = re.compile(r"[\0\r\n]|^[ \t]|[ \t]$")
_PSEUDO = frozenset({":method", ":scheme", ":path", ":authority"})
_OF_A_CONNECTION = frozenset({"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"})

Header = tuple[str, str]


class Blocks:
    """Puts the pieces of header blocks together. Between the first and the last nothing else may come."""

    __slots__ = ("_block", "_ends_stream", "_pieces", "stream")

    def __init__(self) -> None:
        self.stream = 0  # whose block has begun; 0: none
        self._block = b""
        self._pieces = 0
        self._ends_stream = False

    def begin(self, stream: int, flags: int, payload: bytes) -> None:
        """A HEADERS frame's flags and payload. Raises ConnectionFault."""
        piece = unpadded(flags, payload)
        if flags & HAS_PRIORITY:
            if len(piece) < 5:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a priority has five bytes")
            piece = piece[5:]
        self.stream = stream
        self._block = b""
        self._pieces = 0
        self._ends_stream = bool(flags & END_STREAM)
        self.add(stream, piece)

    def add(self, stream: int, piece: bytes) -> None:
        """Raises ConnectionFault."""
        if stream != self.stream or not stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a continuation of nothing")
        self._block += piece
        self._pieces += 1
        if self._pieces > MAX_PIECES or len(self._block) > MAX_BLOCK:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "headers without end")

    def finish(self) -> tuple[bytes, bool]:
        """The whole block, and whether it ends its stream."""
        block, self._block, self.stream = self._block, b"", 0
        return block, self._ends_stream


def decoder() -> hpack.Decoder:
    return hpack.Decoder(max_header_list_size=_MAX_DECODED)


def decode(using: hpack.Decoder, block: bytes) -> list[Header]:
    """Raises ConnectionFault: whoever missed a part of the compression's state cannot read on."""
    try:
        return [(name.decode(), value.decode()) for name, value in using.decode(block, raw=True)]
    except hpack.OversizedHeaderListError:
        raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "more headers than anybody needs") from None
    except (hpack.HPACKError, UnicodeDecodeError):
        raise ConnectionFault(Code.COMPRESSION_ERROR, "headers that cannot be decompressed") from None


@dataclass(frozen=True, slots=True)
class Request:
    """What a call's headers say. `metadata`: all but what HTTP/2 itself needs."""

    method: str
    path: str
    metadata: tuple[Header, ...]

    def value(self, name: str) -> str:
        """The first of that name; empty when there is none."""
        return next((value for known, value in self.metadata if known == name), "")


def request(headers: list[Header]) -> Request:
    """Check the headers of a new stream. Raises StreamFault."""
    if sum(len(name) + len(value) + 32 for name, value in headers) > MAX_HEADER_LIST:
        raise StreamFault(Code.ENHANCE_YOUR_CALM, "more headers than were said to be taken")
    pseudo: dict[str, str] = {}
    metadata: list[Header] = []
    for name, value in headers:
        _check(name, value)
        if not name.startswith(":"):
            metadata.append((name, value))
        elif metadata or name in pseudo or name not in _PSEUDO:
            raise StreamFault(Code.PROTOCOL_ERROR, "a pseudo-header where there is none")
        else:
            pseudo[name] = value
    if not pseudo.keys() >= {":method", ":scheme", ":path"} or not pseudo[":path"].startswith("/"):
        raise StreamFault(Code.PROTOCOL_ERROR, "a request without method, scheme or path")
    return Request(pseudo[":method"], pseudo[":path"], tuple(metadata))


def trailers(headers: list[Header]) -> None:
    """Check the headers that end a request. Raises StreamFault."""
    for name, value in headers:
        _check(name, value)
        if name.startswith(":"):
            raise StreamFault(Code.PROTOCOL_ERROR, "a pseudo-header among trailers")


def _check(name: str, value: str) -> None:
    if not _NAME.fullmatch(name) or _BAD_VALUE.search(value) or name in _OF_A_CONNECTION:
        raise StreamFault(Code.PROTOCOL_ERROR, "a header that is none")
    if name == "te" and value != "trailers":
        raise StreamFault(Code.PROTOCOL_ERROR, "te is trailers")
