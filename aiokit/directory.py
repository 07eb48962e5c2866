"""Following the files of a directory, as Kubernetes mounts Secrets: through symlinks, swapped at once.

Compares contents, not times or inotify events: a projected volume replaces a symlink, and a few small
files a second cost nothing. Promises the newest content, not every one in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

MAX_FILE_BYTES = 1 << 20  # no certificate or configuration comes near; a stray big file is left out


async def changes(path: Path, interval: float = 0.5) -> AsyncGenerator[dict[str, bytes]]:
    """The directory's files (name -> content) at once, then again after every change.

    A missing directory reads as empty; hidden names, subdirectories and unreadable files are left out.
    """
    last: dict[str, bytes] | None = None
    while True:
        files = await asyncio.to_thread(read, path)
        if files != last:
            last = files
            yield dict(files)
        await asyncio.sleep(interval)


def read(path: Path) -> dict[str, bytes]:
    """All regular files directly inside `path`, followed through symlinks."""
    files: dict[str, bytes] = {}
    with suppress(OSError):
        for entry in sorted(path.iterdir()):
            with suppress(OSError):
                if (
                    not entry.name.startswith(".")
                    and entry.is_file()
                    and entry.stat().st_size <= MAX_FILE_BYTES
                ):
                    files[entry.name] = entry.read_bytes()
    return files
