"""The open streams, and who may go on having one."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from clustermesh_apiserver.proxy.caller import Caller
from clustermesh_apiserver.proxy.status import STOPPING, Status

SWEEP_SECONDS = 1.0  # how long a slow reader or an expired certificate may go unnoticed


class Stream(Protocol):
    def end(self, status: Status) -> None: ...

    def check(self, now: float) -> None:
        """End itself if it is time to."""


class Sessions:
    def __init__(self) -> None:
        self._streams: dict[Stream, Caller] = {}
        self._is_stopping = False

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

    @property
    def is_stopping(self) -> bool:
        return self._is_stopping

    def stop(self) -> None:
        """End all, and refuse new ones."""
        self._is_stopping = True
        for stream in list(self._streams):
            stream.end(STOPPING)

    async def sweep(self) -> None:
        """Look after all streams, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = asyncio.get_running_loop().time()
            for stream in list(self._streams):
                stream.check(now)
