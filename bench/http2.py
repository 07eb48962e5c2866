"""As much of an HTTP/2 client as reading watch streams takes: frames out, frames in. Pure.

A thousand watchers of etcd itself are 200,000 messages a second; no client library for Python reads that
many, so this one only cuts frames. Header compression is not used in what is sent and not looked at in
what is received; windows are opened as far as they go, so that nothing has to be counted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK, END_HEADERS, END_STREAM = 1, 4, 1
_LARGEST = 2**31 - 1
_INITIAL_WINDOW, _MAX_FRAME = 4, 5
_LARGEST_FRAME = 2**24 - 1
_DEFAULT_WINDOW = 65_535

Frame = tuple[int, int, int, bytes]  # type, flags, stream, payload


def opening() -> bytes:
    settings = struct.pack(">HIHI", _INITIAL_WINDOW, _LARGEST, _MAX_FRAME, _LARGEST_FRAME)
    window = struct.pack(">I", _LARGEST - _DEFAULT_WINDOW)
    return PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, window)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def grpc_call(stream: int, path: str, authority: str, request: bytes) -> bytes:
    """The beginning of a call, with its first message; the client's side stays open."""
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
    block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers)
    message = b"\x00" + len(request).to_bytes(4, "big") + request
    return frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, 0, stream, message)


def frames(received: bytearray) -> Iterator[Frame]:
    """The complete frames; they are taken away from the front of `received`."""
    position, end = 0, len(received)
    view = bytes(received)
    while position + 9 <= end:
        length = int.from_bytes(view[position : position + 3], "big")
        if position + 9 + length > end:
            break
        stream = int.from_bytes(view[position + 5 : position + 9], "big")
        yield view[position + 3], view[position + 4], stream, view[position + 9 : position + 9 + length]
        position += 9 + length
    del received[:position]


class Messages:
    """Puts gRPC's messages together from the data of one stream."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        while position + 5 <= end:
            length = int.from_bytes(data[position + 1 : position + 5], "big")
            if position + 5 + length > end:
                break
            yield data[position + 5 : position + 5 + length]
            position += 5 + length
        self._rest = data[position:]


def _text(text: str) -> bytes:
    raw = text.encode()
    assert len(raw) < 127  # the length fits the 7 bits that it has here
    return bytes([len(raw)]) + raw
