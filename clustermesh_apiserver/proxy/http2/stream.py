"""One stream of a connection: the call that it carries, seen from both sides.

Sending: a message that fits the windows goes out at once; of one that does not a view is kept, and cut
into frames as the windows open. Receiving: the window is opened again as the handler reads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from clustermesh_apiserver.proxy.call import nobody
from clustermesh_apiserver.proxy.caller import Caller
from clustermesh_apiserver.proxy.http2 import frame, grpcheaders
from clustermesh_apiserver.proxy.http2.frame import DATA, END_HEADERS, END_STREAM, MESSAGE_HEAD, Code
from clustermesh_apiserver.proxy.http2.headers import Request
from clustermesh_apiserver.proxy.http2.message import Messages
from clustermesh_apiserver.proxy.http2.sender import Sender
from clustermesh_apiserver.proxy.http2.window import DEFAULT, Receiving
from clustermesh_apiserver.proxy.status import CUT_SHORT, Ended, Metadata, Status

MAX_REQUEST_BYTES = 2 << 20  # etcd itself takes 1.5 MiB
UNREAD_BYTES = 65_536  # of messages that the handler has not read; more of them may not come
TURN_BYTES = 65_536  # that one stream sends before the next one's turn


class Stream:
    """`window`: what the client lets us send. `held`: bytes received that nobody has read."""

    __slots__ = (
        "_ended", "_gone", "_has_opened", "_messages", "_nonsense", "_pending", "_pending_bytes", "_reading",
        "_receiving", "_sender", "_unread", "_unread_bytes", "_wants", "_withheld", "_writing", "caller",
        "deadline", "held", "number", "on_writable", "progress_at", "request", "task", "window",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        request: Request,
        *,
        caller: Caller,
        sender: Sender,
        window: int,
        deadline: float | None,
    ) -> None:
        self.number = number
        self.request = request
        self.caller = caller
        self.deadline = deadline
        self.window = window
        self.held = 0
        self.on_writable: Callable[[], None] = nobody
        self.task: asyncio.Task[None] | None = None
        self.progress_at: float | None = None  # when something was last sent of a message that waits
        self._sender = sender
        self._receiving = Receiving(DEFAULT)
        self._messages = Messages(MAX_REQUEST_BYTES)
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0
        self._withheld = 0  # received, and not given back to the client's window
        self._ended = False  # the client sends no more
        self._nonsense: Status | None = None
        self._gone = False
        self._reading: asyncio.Future[None] | None = None
        self._pending: deque[memoryview] = deque()  # what is left of one message
        self._pending_bytes = 0
        self._wants = False
        self._writing: asyncio.Future[None] | None = None
        self._has_opened = False

    # The handler's side.

    @property
    def path(self) -> str:
        return self.request.path

    @property
    def metadata(self) -> Metadata:
        return self.request.metadata

    async def read(self) -> bytes | None:
        while not self._unread:
            if self._nonsense is not None:
                raise Ended(self._nonsense)
            if self._ended:
                return None
            self._reading = asyncio.get_running_loop().create_future()
            await self._reading
        message = self._unread.popleft()
        size = len(message) + MESSAGE_HEAD
        self._unread_bytes -= size
        self._sender.released(self, size)
        self._open_window()
        return message

    def may_send(self) -> bool:
        if self._gone:
            return False
        if not self._pending_bytes and self.window > 0:
            if self._sender.has_room:
                return True
            self._sender.wait(self)
        self._wants = True
        return False

    def send(self, message: bytes) -> None:
        if self._gone:
            return
        sender, size = self._sender, len(message) + MESSAGE_HEAD
        if not self._has_opened:
            self._has_opened = True
            sender.headers(self.number, grpcheaders.opening(), END_HEADERS)
        if size <= self.window and sender.takes(size) and not self._pending_bytes:
            self.window -= size
            sender.data((frame.whole_message_head(self.number, len(message)), message), size)
            return
        self._pending += (memoryview(frame.message_head(len(message))), memoryview(message))
        self._pending_bytes += size
        self.progress_at = sender.now()
        if self.window > 0:
            sender.wait(self)
            sender.run()

    async def write(self, message: bytes) -> None:
        self.send(message)
        while self._pending_bytes and not self._gone:
            self._writing = asyncio.get_running_loop().create_future()
            await self._writing

    # The connection's side.

    def feed(self, data: bytes, length: int, *, ends: bool) -> None:
        """Data has come, `length` bytes with its padding. Raises ConnectionFault."""
        self._receiving.take(length)
        self._withheld += length
        if self._nonsense is None:
            self._sender.holds(self, len(data))
            self._put_together(data)
        if ends:
            self.end()
        else:
            self._open_window()
        self._wake_reader()

    def _put_together(self, data: bytes) -> None:
        try:
            for message in self._messages.feed(data):
                self._unread.append(message)
                self._unread_bytes += len(message) + MESSAGE_HEAD
        except Ended as nonsense:
            self._nonsense = nonsense.status

    def end(self) -> None:
        """The client sends no more."""
        self._ended = True
        if self._messages.held and self._nonsense is None:
            self._nonsense = CUT_SHORT
        self._wake_reader()

    @property
    def has_ended(self) -> bool:
        return self._ended

    def opened(self) -> None:
        """The client lets us send more."""
        if self.window > 0 and (self._pending_bytes or self._wants):
            self._sender.wait(self)

    def go_on(self) -> None:
        """Send on what waits: it is this stream's turn."""
        if self._gone:
            return
        if self._pending_bytes:
            self._cut()
            if self._pending_bytes:
                if self.window > 0:
                    self._sender.wait(self)
                return
            self.progress_at = None
        if self._writing is not None and not self._writing.done():
            self._writing.set_result(None)
        if self._wants:
            self._wants = False
            self.on_writable()

    def _cut(self) -> None:
        sender = self._sender
        left = min(self.window, sender.window, TURN_BYTES, self._pending_bytes)
        self.window -= left
        self._pending_bytes -= left
        self.progress_at = sender.now()
        while left > 0:
            size = min(left, sender.max_frame)
            left -= size
            sender.data((frame.head(DATA, 0, self.number, size), *self._take(size)), size)

    def _take(self, size: int) -> list[memoryview]:
        """The next bytes of what is pending."""
        parts = []
        while size > 0:
            view = self._pending.popleft()
            if len(view) > size:
                self._pending.appendleft(view[size:])
                view = view[:size]
            size -= len(view)
            parts.append(view)
        return parts

    def close(self) -> None:
        """Nothing is sent any more, and nothing expected; what waits is dropped."""
        self._gone = True
        self.on_writable = nobody
        self._pending.clear()
        self._pending_bytes = 0
        self.progress_at = None
        self._sender.forget(self)
        if self._writing is not None and not self._writing.done():
            self._writing.set_result(None)

    @property
    def is_closed(self) -> bool:
        return self._gone

    def closing(self, status: Status) -> None:
        """Say how the call ended; to a client that is still sending also that it may stop."""
        block = grpcheaders.closing(status, is_first=not self._has_opened)
        self._sender.headers(self.number, block, END_HEADERS | END_STREAM)
        if not self._ended:
            self._sender.put(frame.reset(self.number, Code.NO_ERROR))

    def _open_window(self) -> None:
        if self._ended or self._unread_bytes > UNREAD_BYTES:
            return
        owed, self._withheld = self._withheld, 0
        if by := self._receiving.give_back(owed):
            self._sender.put(frame.window_update(self.number, by))

    def _wake_reader(self) -> None:
        if self._reading is not None and not self._reading.done():
            self._reading.set_result(None)
