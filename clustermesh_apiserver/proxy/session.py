"""The open streams, and who may go on having one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol

from clustermesh_apiserver.proxy.caller import Caller
from clustermesh_apiserver.proxy.status import REVOKED, STOPPING, Status

SWEEP_SECONDS = 1.0  # how long a slow reader or an expired certificate may go unnoticed


class Stream(Protocol):
    """A stream of a client's that can be ended while it runs."""

    @property
    def path(self) -> str: ...

    def end(self, status: Status) -> None: ...

    def review(self) -> None:
        """What its client may see may have changed."""

    def check(self, now: float) -> None:
        """End itself if it is time to."""


class Sessions:
    """`shut_out` tells for a stream of a client's whether it is to end now, and writes that down."""

    def __init__(self, shut_out: Callable[[Caller, str], bool]) -> None:
        self.is_stopping = False
        self._shut_out = shut_out
        self._streams: dict[Stream, Caller] = {}

    def __len__(self) -> int:
        return len(self._streams)

    @contextmanager
    def open(self, stream: Stream, caller: Caller) -> Generator[None]:
        """The stream can be ended from outside while the block runs."""
        self._streams[stream] = caller
        try:
            yield
        finally:
            del self._streams[stream]

    def stop(self) -> None:
        """End all, and refuse new ones."""
        self.is_stopping = True
        for stream in list(self._streams):
            stream.end(STOPPING)

    def end_shut_out(self) -> None:
        """End the streams of those who are not let in any more."""
        for stream, caller in list(self._streams.items()):
            if self._shut_out(caller, stream.path):
                stream.end(REVOKED)

    def review(self) -> None:
        """The rules have changed: end the streams of those who are not let in any more, look at others."""
        self.end_shut_out()
        for stream in list(self._streams):
            stream.review()

    async def sweep(self) -> None:
        """Look after all streams, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.end_shut_out()
            now = asyncio.get_running_loop().time()
            for stream in list(self._streams):
                stream.check(now)
