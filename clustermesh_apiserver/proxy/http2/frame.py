"""HTTP/2's frames: cut out of what was received, and written (RFC 9113, sections 4 and 6). Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
ACK = END_STREAM = 0x1
END_HEADERS, PADDED, HAS_PRIORITY = 0x4, 0x8, 0x20
MAX_RECEIVED = 16_384  # of a frame's payload: the least that the standard allows, and requests are small
LAST_STREAM = 2**31 - 1

_HEAD = struct.Struct(">HBBBI")  # length in two parts, type, flags, stream
_NUMBER = struct.Struct(">I")
HEAD_BYTES = _HEAD.size
# A DATA frame's head, and in the same breath that of the gRPC message which fills it.
_MESSAGE = struct.Struct(">HBBBIBI")
_MESSAGE_HEAD = struct.Struct(">BI")
MESSAGE_HEAD = 5  # bytes before a gRPC message: compressed or not, and its length

Frame = tuple[int, int, int, bytes]  # type, flags, stream, payload


class Code(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class ConnectionFault(Exception):
    """The client broke the protocol in a way that ends its connection."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


class StreamFault(Exception):
    """The client broke the protocol within one stream, which ends."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


class Reader:
    """Cuts what is received into frames; of a client the first bytes must be the preface."""

    __slots__ = ("_expects_preface", "_rest")

    def __init__(self, *, expects_preface: bool = True) -> None:
        self._expects_preface = expects_preface
        self._rest = b""

    def feed(self, data: bytes) -> Iterable[Frame]:
        """The frames that are complete now. Raises ConnectionFault, also between two frames."""
        data = self._rest + data if self._rest else data
        at, end = 0, len(data)
        if self._expects_preface:
            if not data.startswith(PREFACE):
                if PREFACE.startswith(data):
                    self._rest = data
                    return
                raise ConnectionFault(Code.PROTOCOL_ERROR, "this is not HTTP/2")
            self._expects_preface = False
            at = len(PREFACE)
        while at + HEAD_BYTES <= end:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
            length = high << 8 | low
            if length > MAX_RECEIVED:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            if at + HEAD_BYTES + length > end:
                break
            yield kind, flags, stream & LAST_STREAM, data[at + HEAD_BYTES : at + HEAD_BYTES + length]
            at += HEAD_BYTES + length
        self._rest = data[at:]


def unpadded(flags: int, payload: bytes) -> bytes:
    """What a DATA or HEADERS frame carries, without padding. Raises ConnectionFault."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(Code.PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def number(payload: bytes) -> int:
    """The 31 bits that a WINDOW_UPDATE or the like consists of. Raises ConnectionFault."""
    if len(payload) != 4:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"{len(payload)} bytes where there are four")
    value: int = _NUMBER.unpack(payload)[0]
    return value & LAST_STREAM


def write(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return head(kind, flags, stream, len(payload)) + payload


def head(kind: int, flags: int, stream: int, length: int) -> bytes:
    """The nine bytes before a payload of that length."""
    return _HEAD.pack(length >> 8, length & 255, kind, flags, stream)


def message_head(length: int) -> bytes:
    """What comes before a gRPC message of that length."""
    return _MESSAGE_HEAD.pack(0, length)


def whole_message_head(stream: int, length: int) -> bytes:
    """What comes before a gRPC message of that length that goes in one DATA frame."""
    whole = length + MESSAGE_HEAD
    return _MESSAGE.pack(whole >> 8, whole & 255, DATA, 0, stream, 0, length)


def reset(stream: int, code: Code) -> bytes:
    return write(RST_STREAM, 0, stream, _NUMBER.pack(code))


def window_update(stream: int, by: int) -> bytes:
    return write(WINDOW_UPDATE, 0, stream, _NUMBER.pack(by))


def goaway(last: int, code: Code, text: str = "") -> bytes:
    """No stream above `last` will be served."""
    return write(GOAWAY, 0, 0, _NUMBER.pack(last) + _NUMBER.pack(code) + text.encode()[:128])
