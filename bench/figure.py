"""What a benchmark reports: a number, beside the least that it could have been. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich.table import Table


class Figure(msgspec.Struct, frozen=True):
    """`floor` is the same without our part, in the same run; `ratio` is value / floor."""

    name: str
    value: float
    unit: str
    floor: float | None = None
    ratio: float | None = None
    cpu_seconds: float | None = None
    peak_rss_bytes: int | None = None
    runs: list[float] = []


def figure(
    name: str,
    runs: Sequence[float],
    unit: str,
    *,
    floors: Sequence[float] = (),
    cpu_seconds: float | None = None,
    peak_rss_bytes: int | None = None,
) -> Figure:
    """The median of several runs, and of the floor's."""
    value = median(runs)
    floor = median(floors) if floors else None
    return Figure(
        name=name,
        value=_short(value),
        unit=unit,
        floor=None if floor is None else _short(floor),
        ratio=_short(value / floor) if floor else None,
        cpu_seconds=None if cpu_seconds is None else _short(cpu_seconds),
        peak_rss_bytes=peak_rss_bytes,
        runs=[_short(run) for run in runs],
    )


def median(values: Sequence[float]) -> float:
    return percentile(values, 50)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which that many are; 0 when there are none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def as_json(figures: Sequence[Figure]) -> str:
    return msgspec.json.format(msgspec.json.encode(figures), indent=1).decode()


def as_table(figures: Sequence[Figure]) -> Table:
    table = Table("figure", "value", "floor", "ratio", "CPU s", "peak RSS")
    for one in figures:
        table.add_row(
            one.name,
            f"{one.value:g} {one.unit}",
            "" if one.floor is None else f"{one.floor:g}",
            "" if one.ratio is None else f"{one.ratio:g}",
            "" if one.cpu_seconds is None else f"{one.cpu_seconds:g}",
            "" if one.peak_rss_bytes is None else f"{one.peak_rss_bytes / 1e6:.0f} MB",
        )
    return table


def _short(value: float) -> float:
    """Four digits say all that such a measurement knows."""
    return float(f"{value:.4g}")
