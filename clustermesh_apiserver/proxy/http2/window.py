"""Flow control: how much may be sent, and what may still be received (RFC 9113, section 5.2). Pure."""

from __future__ import annotations

from clustermesh_apiserver.proxy.http2.frame import Code, ConnectionFault, StreamFault

DEFAULT = 65_535
LARGEST = 2**31 - 1


def opened(window: int, by: int) -> int:
    """A window for sending after the other side has opened it. Raises StreamFault.

    By nothing or beyond the largest is a fault of that stream, or of the connection where it is its window.
    """
    if by == 0:
        raise StreamFault(Code.PROTOCOL_ERROR, "a window opened by nothing")
    if window + by > LARGEST:
        raise StreamFault(Code.FLOW_CONTROL_ERROR, "a window of 2 GiB or more")
    return window + by


class Receiving:
    """What the other side may still send; opened again in steps of half the window."""

    __slots__ = ("_left", "_owed", "_size")

    def __init__(self, size: int) -> None:
        self._size = self._left = size
        self._owed = 0

    def take(self, length: int) -> None:
        """That many bytes have come. Raises ConnectionFault when they were more than allowed."""
        self._left -= length
        if self._left < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more data than the window allows")

    def give_back(self, length: int) -> int:
        """That many bytes have been used. By how much to open the window now; 0: not yet."""
        self._owed += length
        if self._owed < self._size // 2:
            return 0
        by, self._owed = self._owed, 0
        self._left += by
        return by
