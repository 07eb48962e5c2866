"""A bar on a terminal while something long goes on; elsewhere nothing. Standard output is for data."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Written:
    """Counts upwards; `total` is known."""

    def __init__(self, bar: Progress, text: str, total: int) -> None:
        self._bar = bar
        self._task = bar.add_task(text, total=total)

    def __call__(self, more: int) -> None:
        self._bar.advance(self._task, more)


@contextmanager
def progress(text: str, total: int) -> Iterator[Written]:
    """A bar on a terminal; elsewhere nothing is drawn. Standard output stays for data."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty(), transient=True) as bar:
        yield Written(bar, text, total)
