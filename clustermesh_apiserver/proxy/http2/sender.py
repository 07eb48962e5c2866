"""What one connection sends: collected for a moment, in the client's windows, each stream in its turn.

Frames of one pass of the loop leave together: a hundred watchers on one connection cost one write. What is
queued is bounded: streams wait for room, and a client that makes us answer without reading is disconnected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from clustermesh_apiserver.proxy.http2 import frame
from clustermesh_apiserver.proxy.http2.abuse import Budget
from clustermesh_apiserver.proxy.http2.frame import CONTINUATION, END_HEADERS, HEADERS, Code, ConnectionFault
from clustermesh_apiserver.proxy.http2.grpcheaders import NO_TABLE
from clustermesh_apiserver.proxy.http2.settings import Settings
from clustermesh_apiserver.proxy.http2.window import DEFAULT

ROOM_BYTES = 256 << 10  # queued here, and once more in the socket's buffer, before streams have to wait
MOST_BYTES = 2 << 20  # queued here: answers to a client that does not read them
HELD_BYTES = 64 << 20  # received on all streams and not read by their handlers
PASS_BYTES = 1 << 20  # sent for one connection before others get a turn
LARGEST_FRAME = 256 << 10  # of ours, whatever the client takes: others shall get between


class Wire(Protocol):
    """The socket, with or without encryption."""

    def write(self, raw: bytes) -> None: ...

    def close(self) -> None:
        """Send what was written, then end."""


class Waiting(Protocol):
    """A stream that waits for its turn."""

    held: int

    def go_on(self) -> None: ...


class Sender:
    """`send` hands bytes to the socket; `window` is the whole connection's."""

    def __init__(self, send: Callable[[bytes], None], budget: Budget) -> None:
        self.window = DEFAULT
        self.settings = Settings()
        self.max_frame = self.settings.max_frame
        self.held = 0  # bytes received on all streams that nobody has read
        self._send = send
        self._budget = budget
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self._out: list[bytes | memoryview] = []
        self._out_bytes = 0
        self._sent = 0
        self._is_paused = False
        self._is_closed = False
        self._is_running = False
        self._flush_due = False
        self._has_sent_headers = False
        self._waiting: dict[Waiting, None] = {}

    @property
    def has_room(self) -> bool:
        """Whether the connection takes another message now."""
        return self.window > 0 and self._out_bytes < ROOM_BYTES and not self._is_paused

    def takes(self, size: int) -> bool:
        """Whether so many bytes may go at once in one frame."""
        return size <= self.max_frame and size <= self.window and not self._waiting and self.has_room

    def use(self, settings: Settings) -> None:
        self.settings = settings
        self.max_frame = min(settings.max_frame, LARGEST_FRAME)

    def put(self, raw: bytes) -> None:
        """Queue a frame that is not data: the windows do not count it."""
        self._out.append(raw)
        self._out_bytes += len(raw)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def require_read(self) -> None:
        """Raises ConnectionFault when the client makes us answer, and does not read the answers."""
        if self._out_bytes > MOST_BYTES:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "answers that nobody reads")

    def headers(self, stream: int, block: bytes, flags: int) -> None:
        """Queue a header block, in as many frames as it takes."""
        if not self._has_sent_headers:
            self._has_sent_headers = True
            block = NO_TABLE + block
        size = self.max_frame
        kind, rest = HEADERS, block[size:]
        if rest:
            flags &= ~END_HEADERS
        self.put(frame.write(kind, flags, stream, block[:size]))
        while rest:
            piece, rest = rest[:size], rest[size:]
            self.put(frame.write(CONTINUATION, 0 if rest else END_HEADERS, stream, piece))

    def data(self, parts: tuple[bytes | memoryview, ...], size: int) -> None:
        """Queue a frame of data: its head and its `size` bytes, which count for the window."""
        self.window -= size
        self._sent += size
        self._budget.earn(1)
        self._out += parts
        self._out_bytes += size + frame.HEAD_BYTES
        if self._out_bytes >= ROOM_BYTES:
            self._flush()
        elif not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def wait(self, stream: Waiting) -> None:
        """Give this stream a turn when there is room."""
        self._waiting[stream] = None

    def forget(self, stream: Waiting) -> None:
        self._waiting.pop(stream, None)
        self.held -= stream.held
        stream.held = 0

    def holds(self, stream: Waiting, length: int) -> None:
        """That many bytes have come on the stream. Raises ConnectionFault when all together are too many."""
        stream.held += length
        self.held += length
        if self.held > HELD_BYTES:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "requests faster than they can be served")

    def released(self, stream: Waiting, length: int) -> None:
        """A message that came on the stream was read."""
        stream.held -= length
        self.held -= length

    def run(self) -> None:
        """Give the waiting streams their turns while there is room."""
        if self._is_running:
            return  # a stream that had its turn sends: the others are still to have theirs
        self._is_running = True
        try:
            self._run()
        finally:
            self._is_running = False

    def _run(self) -> None:
        until = self._sent + PASS_BYTES
        while self._waiting and self.has_room:
            if self._sent > until:
                self._loop.call_soon(self.run)
                return
            stream = next(iter(self._waiting))
            del self._waiting[stream]
            stream.go_on()

    def pause(self) -> None:
        """The socket takes no more for now."""
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        self._flush()
        self.run()

    def last(self, raw: bytes = b"") -> None:
        """Hand everything to the socket, however full that is: the connection ends with it."""
        self.put(raw)
        self._is_paused = False
        self._flush()
        self.close()

    def close(self) -> None:
        self._is_closed = True
        self._out.clear()
        self._waiting.clear()

    def _flush(self) -> None:
        self._flush_due = False
        if self._is_paused or not self._out or self._is_closed:
            return
        raw = b"".join(self._out)
        self._out.clear()
        was_full, self._out_bytes = self._out_bytes >= ROOM_BYTES, 0
        self._send(raw)
        if was_full and self._waiting:
            self._loop.call_soon(self.run)
