"""What a stream has to say to its client: one message at a time is on its way, the rest waits here."""

from __future__ import annotations

import asyncio
from collections import deque

from clustermesh_apiserver.proxy import reply
from clustermesh_apiserver.proxy.call import Call

MAX_REPLIES = 1024  # answers to requests that the client has not read yet; clients send few at a time
FRAGMENT_BYTES = 2 << 20  # etcd's own: over this an answer is cut, for who asked for it


class Outbox:
    """`blocked_since`: when the client began to read nothing, by the loop's clock; None while it reads."""

    def __init__(self, call: Call) -> None:
        self.replies: deque[bytes] = deque()
        self.blocked_since: float | None = None
        self._call = call
        self._parts: deque[bytes] = deque()  # of an answer that was cut for a client that wanted that
        self._read = asyncio.Event()  # the client has taken all replies
        self._loop = asyncio.get_running_loop()

    def may_write(self) -> bool:
        """Whether another message may be written now; if not, the call's `on_writable` tells when."""
        while self._call.may_send():
            if not self._parts:
                return True
            self._call.send(self._parts.popleft())
        if self.blocked_since is None:
            self.blocked_since = self._loop.time()
        return False

    def write(self, message: bytes) -> None:
        """One message: ask `may_write` before."""
        self._call.send(message)

    def write_events(self, raw: bytes, may_cut: bool) -> None:
        """One answer with events; in parts where it is long and the client takes parts."""
        if may_cut and len(raw) > FRAGMENT_BYTES:
            self._parts.extend(reply.fragments(raw, FRAGMENT_BYTES))
            self.may_write()
        else:
            self._call.send(raw)

    def write_replies(self) -> None:
        while self.replies and self.may_write():
            self._call.send(self.replies.popleft())
        self._read.set()

    def owes(self) -> None:
        """There are replies that the client has not taken."""
        self._read.clear()

    async def taken(self) -> None:
        """A client that asks on and does not read has to wait."""
        if len(self.replies) >= MAX_REPLIES:
            await self._read.wait()
