"""Durations on the command line as Go programs take them: 90s, 15m, 1h30m."""

from __future__ import annotations

import re

import click

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration(text: str) -> float:
    """Seconds; a click type."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise click.BadParameter(f"{text!r} is not a duration such as 90s, 15m or 1h30m")
    return float(sum(float(number) * _SECONDS[unit] for number, unit in parts))
