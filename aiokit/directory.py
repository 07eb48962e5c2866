"""Following the files of a directory, as Kubernetes mounts Secrets: through symlinks, swapped at once.

Compares contents, not times or inotify events: a projected volume replaces a symlink, and a few small
files a second cost nothing. Promises the newest content, not every one in between. What cannot be read at
the moment (no file descriptor left, a failing disk) is not taken for gone: only what is absent is.
"""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 1 << 20  # no certificate or configuration comes near; a stray big file is left out


@dataclass(slots=True)
class Reading:
    """`doubtful`: files that are there and cannot be read now."""

    files: dict[str, bytes] = field(default_factory=dict)
    doubtful: dict[str, OSError] = field(default_factory=dict)


async def changes(path: Path, interval: float = 0.5) -> AsyncGenerator[dict[str, bytes]]:
    """The directory's files (name -> content) at once, then again after every change.

    A missing directory reads as empty; hidden names and subdirectories are left out. A file that cannot be
    read keeps its last content. While the directory itself cannot be read, nothing is yielded.
    """
    last: dict[str, bytes] | None = None
    complaint = ""
    while True:
        try:
            reading = await asyncio.to_thread(examine, path)
        except OSError as error:
            problem = f"{path}: {error.strerror or error}"
        else:
            files, problem = _with_last(reading, last or {}), _problem(path, reading)
            if files != last:
                last = files
                yield dict(files)
        if problem and problem != complaint:
            log.warning("files cannot be read, their last content counts: %s", problem)
        complaint = problem
        await asyncio.sleep(interval)


def read(path: Path) -> dict[str, bytes]:
    """All regular files directly inside `path`, followed through symlinks, as far as they can be read."""
    try:
        return examine(path).files
    except OSError:
        return {}


def examine(path: Path) -> Reading:
    """What is in the directory. Raises OSError when that cannot be known."""
    reading = Reading()
    try:
        names = sorted(entry.name for entry in path.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return reading
    for name in names:
        if name.startswith("."):
            continue
        try:
            status = (path / name).stat()
            if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_FILE_BYTES:
                reading.files[name] = (path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue  # removed, or swapped, while we looked
        except OSError as error:
            reading.doubtful[name] = error
    return reading


def _with_last(reading: Reading, last: dict[str, bytes]) -> dict[str, bytes]:
    kept = {name: last[name] for name in reading.doubtful if name in last}
    return {**reading.files, **kept} if kept else reading.files


def _problem(path: Path, reading: Reading) -> str:
    return "; ".join(f"{path / name}: {error.strerror or error}" for name, error in reading.doubtful.items())
