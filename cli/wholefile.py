"""Files that a command writes: whole or not at all, and one line that says why not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cli.errors import CommandError


def write(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Take the place of what is there, at once. Raises CommandError; what was there then stays."""
    with _staged(path, content, mode) as staged:
        staged.replace(path)


def create(path: Path, content: bytes, mode: int) -> None:
    """Write what must not be there yet. Raises CommandError, also when it is."""
    with _staged(path, content, mode) as staged:
        path.hardlink_to(staged)  # unlike a rename, it does not replace


@contextmanager
def _staged(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # some disks say only now that there is no room
        yield staged
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            staged.unlink()
