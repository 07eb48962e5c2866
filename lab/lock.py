"""One command at a time changes a lab. The kernel drops the lock with its holder, however that ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.errors import LabError

WAIT_SECONDS = 60.0  # an interrupted `lab up` undoes what it did within a few seconds
_POLL_SECONDS = 0.05


@contextmanager
def held(folder: Path, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold `folder`'s lock while the block runs.

    Raises LabError when somebody else keeps it, FileNotFoundError when the folder is gone.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _acquire(fd, folder, deadline)
            # while we waited, it may have been removed and another one made in its place
            if _is_same(fd, folder):
                yield
                return
        finally:
            os.close(fd)


def _is_same(fd: int, folder: Path) -> bool:
    mine, there = os.fstat(fd), folder.stat()
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _acquire(fd: int, folder: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise LabError(f"another command is at work on lab {folder.name}") from error
            time.sleep(_POLL_SECONDS)
        else:
            return
