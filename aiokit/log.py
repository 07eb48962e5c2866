"""One log format for all our programs: time, level, logger, words. On stderr; stdout is for data.

As text, or one JSON object a line (`--log-opt format=json`, as Cilium's programs take it).
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import click

from aiokit import logrecord

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
# Cilium's names for the same with a time, which ours always have
_SAME = {"text-ts": "text", "json-ts": "json"}

_TEXT = "time=%(asctime)s level=%(levelname)s logger=%(name)s msg=%(message)s"


def configure(level: str = "info", form: str = "text") -> None:
    """Set up the root logger. `level` is one of LEVELS, `form` of FORMATS; anything else is a ValueError."""
    if level not in LEVELS:
        raise ValueError(f"log level {level!r} is not one of {', '.join(LEVELS)}")
    if form not in FORMATS:
        raise ValueError(f"log format {form!r} is not one of {', '.join(FORMATS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter() if form == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def parse_options(options: Iterable[str]) -> dict[str, str]:
    """`key=value` items, also several in one text separated by commas. Raises ValueError."""
    chosen: dict[str, str] = {}
    allowed = {"format": (*FORMATS, *_SAME), "level": LEVELS}
    for item in (part for option in options for part in option.split(",") if part):
        key, _, value = item.partition("=")
        if key not in allowed:
            raise ValueError(f"{key!r} is not one of {', '.join(allowed)}")
        if value not in allowed[key]:
            raise ValueError(f"{key}: {value!r} is not one of {', '.join(allowed[key])}")
        chosen[key] = _SAME.get(value, value)
    return chosen


def flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --log-level and --log-opt to a click command, and sets the log up before it runs."""

    @click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True)
    @click.option("--log-opt", multiple=True, metavar="KEY=VALUE", help="format=json|text, level=LEVEL.")
    @wraps(command)
    def configured(*args: Any, log_level: str, log_opt: tuple[str, ...], **kwargs: Any) -> Any:
        try:
            chosen = parse_options(log_opt)
        except ValueError as error:
            raise click.UsageError(f"--log-opt: {error}") from error
        configure(chosen.get("level", log_level), chosen.get("format", "text"))
        return command(*args, **kwargs)

    return configured


class JSONFormatter(logging.Formatter):
    """One object a line; a traceback is a field of it."""

    def format(self, record: logging.LogRecord) -> str:
        said = logrecord.fields(record)
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str, ensure_ascii=False)
