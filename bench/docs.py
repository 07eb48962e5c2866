"""The table of docs/performance.md, from a run. What stands around it is written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from bench.figure import Figure

PATH = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- figures: written by ./run bench all --write-docs -->", "<!-- end of figures -->"


def write(figures: Sequence[Figure], machine: str, path: Path = PATH) -> None:
    """Replace what is between the marks. ValueError when they are not there."""
    text = path.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{path} has no place for the figures: put {BEGIN} and {END} there")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    path.write_text(before + table(figures, machine, datetime.now(UTC).date()) + after)


def table(figures: Sequence[Figure], machine: str, day: date) -> str:
    rows = [
        f"Measured on {day.isoformat()}: {machine}. Medians.",
        "",
        "| figure | value | floor | ratio | CPU s | peak RSS |",
        "|---|---|---|---|---|---|",
        *map(_row, figures),
    ]
    return "\n".join([BEGIN, "", *rows, "", END])


def _row(one: Figure) -> str:
    rss = "" if one.peak_rss_bytes is None else f"{one.peak_rss_bytes / 1e6:.0f} MB"
    cells = (
        one.name,
        f"{one.value:g} {one.unit}".strip(),
        "" if one.floor is None else f"{one.floor:g}",
        "" if one.ratio is None else f"{one.ratio:g}",
        "" if one.cpu_seconds is None else f"{one.cpu_seconds:g}",
        rss,
    )
    return f"| {' | '.join(cells)} |"
