"""One log record as fields. Pure.

Our messages are constant words and `name=%s` facts. Facts are read from the template, not from the text: a
value may say anything, also ` level=error`, and stays one value.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from logging import LogRecord
from typing import Any

# name=, one of printf's conversions, and what is glued to it ("%.1fs")
_FACT = re.compile(
    r"(?:(?P<name>[A-Za-z_][\w-]*)=)?(?P<form>%[-#0 +]*\d*(?:\.\d+)?[diouxXeEfFgGcrsa%])(?P<unit>[^\s%]*)"
)
_SPACES = re.compile(r"\s+")
FIXED = ("time", "level", "logger", "msg")


def fields(record: LogRecord) -> dict[str, Any]:
    """time, level, logger, msg; then the facts in their order. Numbers stay numbers."""
    message, facts = _read(record)
    said: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "msg": message,
    }
    for name, value in facts.items():
        said[f"{name}_" if name in FIXED else name] = value
    return said


def _read(record: LogRecord) -> tuple[str, dict[str, Any]]:
    template, arguments = record.msg, record.args
    if not isinstance(template, str) or not isinstance(arguments, tuple) or not arguments:
        return record.getMessage(), {}
    left = list(arguments)
    facts: dict[str, Any] = {}

    def replaced(match: re.Match[str]) -> str:
        name, form, unit = match.group("name", "form", "unit")
        if form == "%%" or not left:
            return match[0]
        argument = left.pop(0)
        text = form % (argument,) + unit
        in_one_word_with_others = template[match.end() : match.end() + 1] == "%"
        if name is None or in_one_word_with_others:
            return (f"{name}=" if name else "") + text.replace("%", "%%")
        is_number = isinstance(argument, int | float) and not isinstance(argument, bool) and not unit
        facts[name] = argument if is_number else text
        return ""

    words = _FACT.sub(replaced, template)
    try:
        words = words % tuple(left)
    except (TypeError, ValueError):  # not our own style: the text is right all the same
        return record.getMessage(), {}
    return _SPACES.sub(" ", words).strip().rstrip(","), facts
