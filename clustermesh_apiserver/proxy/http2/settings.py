"""What the two ends of a connection tell each other about their limits (RFC 9113, section 6.5). Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from clustermesh_apiserver.proxy.http2.frame import MAX_RECEIVED, SETTINGS, Code, ConnectionFault, write
from clustermesh_apiserver.proxy.http2.window import DEFAULT, LARGEST

_ONE = struct.Struct(">HI")
_ENABLE_PUSH, _MAX_STREAMS, _INITIAL_WINDOW, _MAX_FRAME, _MAX_HEADER_LIST = 2, 3, 4, 5, 6
_LARGEST_FRAME = 2**24 - 1
MAX_STREAMS = 4096  # at once on one connection
MAX_HEADER_LIST = 16_384  # bytes, as HTTP/2 counts them: gRPC's own default


@dataclass(frozen=True, slots=True)
class Settings:
    """The client's, as far as they matter to who sends no promises and no indexed headers."""

    initial_window: int = DEFAULT
    max_frame: int = 16_384

    def changed(self, payload: bytes) -> Settings:
        """As a SETTINGS frame changes them. Raises ConnectionFault."""
        if len(payload) % _ONE.size:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a setting has six bytes")
        settings = self
        for name, value in _ONE.iter_unpack(payload):
            settings = settings._with(name, value)
        return settings

    def _with(self, name: int, value: int) -> Settings:
        if name == _ENABLE_PUSH and value > 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "push is on or off")
        if name == _INITIAL_WINDOW:
            if value > LARGEST:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a window of 2 GiB or more")
            return replace(self, initial_window=value)
        if name == _MAX_FRAME:
            if not 16_384 <= value <= _LARGEST_FRAME:
                raise ConnectionFault(Code.PROTOCOL_ERROR, f"frames of {value} bytes")
            return replace(self, max_frame=value)
        return self


def ours() -> bytes:
    """The first frame that we send."""
    told = ((_MAX_STREAMS, MAX_STREAMS), (_MAX_FRAME, MAX_RECEIVED), (_MAX_HEADER_LIST, MAX_HEADER_LIST))
    return write(SETTINGS, 0, 0, b"".join(_ONE.pack(name, value) for name, value in told))
