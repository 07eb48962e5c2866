"""Columns of text, as cilium-dbg prints them: three blanks between, cells of several lines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

Row = Sequence[str]
_GAP = "   "


def columns(head: Row, rows: Iterable[Row]) -> str:
    """A table; a cell's further lines go below its first, the other columns staying empty there."""
    lines = [tuple(head)]
    for row in rows:
        lines += zip_longest(*(cell.split("\n") for cell in row), fillvalue="")
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in lines
    )
