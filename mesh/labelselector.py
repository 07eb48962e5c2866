"""Kubernetes' label selectors as text (`app=web,tier in (a, b),!old`): a test on labels out. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from mesh.errors import MeshError

LabelTest = Callable[[Mapping[str, str]], bool]

_KEY = r"[A-Za-z0-9][A-Za-z0-9._/-]*"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s+\(([^()]*)\)")
_COMPARE = re.compile(rf"({_KEY})\s*(==|=|!=|>|<)\s*([A-Za-z0-9._-]*)")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")
_COMMAS = re.compile(r",(?![^()]*\))")  # those outside parentheses


class SelectorError(MeshError):
    """No label selector; the text says which part of it."""


def label_test(text: str) -> LabelTest:
    """Whether labels meet all requirements; an empty text has none. Raises SelectorError."""
    if not text.strip():
        return lambda _: True
    tests = [_requirement(part.strip()) for part in _COMMAS.split(text)]
    return lambda labels: all(test(labels) for test in tests)


def _requirement(text: str) -> LabelTest:
    if found := _SET.fullmatch(text):
        key, operator, values = found.group(1), found.group(2), _values(found.group(3))
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values  # an absent label is not in any set
    if found := _COMPARE.fullmatch(text):
        return _comparison(*found.groups())
    if found := _EXISTS.fullmatch(text):
        absent, key = bool(found.group(1)), found.group(2)
        return lambda labels: (key not in labels) is absent
    raise SelectorError(f"unable to parse requirement: {text!r}")


def _comparison(key: str, operator: str, value: str) -> LabelTest:
    match operator:
        case "=" | "==":
            return lambda labels: labels.get(key) == value
        case "!=":
            return lambda labels: labels.get(key) != value
    if not _is_integer(value):
        raise SelectorError(
            f"unable to parse requirement: {key}{operator}{value}: the value must be an integer"
        )
    sign = 1 if operator == ">" else -1

    def compare(labels: Mapping[str, str]) -> bool:
        own = labels.get(key, "")
        return _is_integer(own) and sign * (int(own) - int(value)) > 0

    return compare


def _is_integer(text: str) -> bool:
    """`isdigit` alone is true for characters that `int` does not read."""
    return text.isascii() and text.isdigit()


def _values(text: str) -> frozenset[str]:
    return frozenset(value.strip() for value in text.split(","))
