"""Processes by number and start time: a number alone may be somebody else's by now."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

_START_TIME = 19  # the 22nd field of /proc/<pid>/stat, counted after the name's closing bracket
_STATE = 0


class Process(Struct, frozen=True):
    pid: int
    start_time: int

    @property
    def is_alive(self) -> bool:
        return identify(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Signal it if it is still the same process; its end in between is no error."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def identify(pid: int) -> Process | None:
    """The process that has this number now; None when there is none or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    if fields[_STATE] in {b"Z", b"X"}:
        return None
    return Process(pid, int(fields[_START_TIME]))
