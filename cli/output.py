"""Standard output that cannot be written: one line, not a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


@contextmanager
def told() -> Iterator[None]:
    """A disk that is full under our output ends the program with a line and status 1."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM or error.filename is not None:
            raise
        click.echo(f"error: the output cannot be written: {error.strerror}", err=True)
        _forget()
        raise SystemExit(1) from None


def _forget() -> None:
    """What is still in the buffer would fail again when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
