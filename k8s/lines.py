"""Splitting a byte stream into lines of any length, up to a bound. Pure.

aiohttp's readline refuses lines over 64 kB, which one large object exceeds.
"""

from __future__ import annotations

LINE_LIMIT = 16 << 20  # etcd refuses objects over 1.5 MiB: ten times that is no object


class LineTooLongError(ValueError):
    """The peer sends something that is no list of JSON lines."""


class Lines:
    """Chunks in, complete non-empty lines out."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._length = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        head, newline, rest = chunk.partition(b"\n")
        self._length += len(head)
        if self._length > self._limit:
            raise LineTooLongError(f"a line of more than {self._limit} bytes")
        self._parts.append(head)
        if not newline:
            return []
        lines = [b"".join(self._parts), *rest.split(b"\n")]
        tail = lines.pop()
        self._parts, self._length = [tail], len(tail)
        return [line for line in lines if line]
