"""gRPC's messages within the data of a stream: put together from any pieces. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from clustermesh_apiserver.proxy.status import COMPRESSED, TOO_LARGE, Ended

_HEAD = struct.Struct(">BI")  # compressed or not, and the length


class Messages:
    """Of one stream, none longer than `most` bytes."""

    __slots__ = ("_most", "_rest")

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = bytearray()

    @property
    def held(self) -> int:
        """Bytes of a message that is not complete."""
        return len(self._rest)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are complete now. Raises Ended."""
        rest = self._rest
        rest += data
        at = 0
        while at + _HEAD.size <= len(rest):
            flag, length = _HEAD.unpack_from(rest, at)
            if flag:
                raise Ended(COMPRESSED)
            if length > self._most:
                raise Ended(TOO_LARGE)
            end = at + _HEAD.size + length
            if end > len(rest):
                break
            yield bytes(rest[at + _HEAD.size : end])
            at = end
        del rest[:at]
