"""JSONPath templates as kubectl and cilium-dbg take them, the part of them that is used. Pure.

Text stands for itself, braces hold a path, a quoted text, or `range PATH` … `end`. A path has `.name`
(`\\.` for a dot in it), `['name', …]`, `[3]`, `[-1]`, `[1:3]`, `[*]`, `.*`, `..name` and
`[?(@.path OP value)]` with ==, !=, <, <=, > or >=, or nothing after the path: it is there. `$` is the whole
document. What is not there prints nothing; several results are parted by blanks; objects and lists are JSON.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

Step = Callable[[Any], Iterable[Any]]  # a value -> those that it leads to


class JSONPathError(ValueError):
    """No template that is understood here."""


class Path(NamedTuple):
    is_absolute: bool
    steps: tuple[Step, ...]

    def of(self, here: Any, root: Any) -> list[Any]:
        found = [root if self.is_absolute else here]
        for step in self.steps:
            found = [each for value in found for each in step(value)]
        return found


class Range(NamedTuple):
    path: Path
    body: tuple[str | Path | Range, ...]


Template = tuple[str | Path | Range, ...]

_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_PIECE = re.compile(rf"([^{{}}]+)|\{{((?:[^{{}}\"']|{_QUOTED})*)\}}")
_STEP = re.compile(
    rf"\.\.(?P<deep>\*|(?:\\.|[^.\[\]\s\\])+)|\.(?P<name>\*|(?:\\.|[^.\[\]\s\\])+)"
    rf"|\[\s*(?P<all>\*)\s*\]|\[\s*(?P<index>-?\d+)\s*\]|\[(?P<first>-?\d*):(?P<last>-?\d*)\]"
    rf"|\[\s*(?P<names>(?:{_QUOTED})(?:\s*,\s*(?:{_QUOTED}))*)\s*\]"
    rf"|\[\?\((?P<filter>(?:[^()\"']|{_QUOTED})*)\)\]"
)
_FILTER = re.compile(rf"\s*@(.*?)\s*(?:(==|!=|<=|>=|<|>)\s*({_QUOTED}|[^\s\"']+)\s*)?")
_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def parse(text: str) -> Template:
    """Raises JSONPathError."""
    open_: list[tuple[Path, list[str | Path | Range]]] = []
    into: list[str | Path | Range] = []
    result, at = into, 0
    while at < len(text):
        found = _PIECE.match(text, at)
        if found is None:
            raise JSONPathError(f"a brace is not closed, or is too many: {text[at:]!r}")
        at = found.end()
        plain, inside = found.groups()
        word = (inside or "").strip()
        if plain is not None:
            into.append(plain)
        elif re.fullmatch(_QUOTED, word):
            into.append(_unquoted(word))
        elif word == "range" or word.startswith("range "):
            open_.append((_path(word.removeprefix("range").strip()), into))
            into = []
        elif word != "end":
            into.append(_path(word))
        elif open_:
            path, outer = open_.pop()
            outer.append(Range(path, tuple(into)))
            into = outer
        else:
            raise JSONPathError("{end} without {range}")
    if open_:
        raise JSONPathError("{range} without {end}")
    return tuple(result)


def rendered(template: Template, root: Any) -> str:
    """`root`: what some JSON says."""
    return "".join(_pieces(template, root, root))


def _pieces(template: Template, here: Any, root: Any) -> Iterator[str]:
    for piece in template:
        if isinstance(piece, str):
            yield piece
        elif isinstance(piece, Range):
            for each in piece.path.of(here, root):
                yield from _pieces(piece.body, each, root)
        else:
            yield " ".join(map(_text, piece.of(here, root)))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _path(text: str) -> Path:
    is_absolute, at = text.startswith("$"), int(text[:1] in ("$", "@"))
    steps = []
    if text == ".":
        return Path(is_absolute=False, steps=())
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            raise JSONPathError(f"not understood: {text[at:]!r}")
        steps.append(_step(found.groupdict()))
        at = found.end()
    return Path(is_absolute, tuple(steps))


def _step(found: Mapping[str, str | None]) -> Step:
    if (deep := found["deep"]) is not None:
        name = _named(deep)
        return lambda value: (each for inner in _descendants(value) for each in name(inner))
    if (one := found["name"] or found["all"]) is not None:
        return _named(one)
    if (test := found["filter"]) is not None:
        return _filter(test)
    if (names := found["names"]) is not None:
        keys = [_unquoted(each) for each in re.findall(_QUOTED, names)]
        return lambda value: [value[key] for key in keys if key in value] if isinstance(value, dict) else ()
    return _slice(found)


def _slice(found: Mapping[str, str | None]) -> Step:
    if (index := found["index"]) is not None:
        at = int(index)
        return lambda value: value[at : at + 1 or None] if isinstance(value, list) else ()
    first, last = (int(each) if each else None for each in (found["first"], found["last"]))
    return lambda value: value[first:last] if isinstance(value, list) else ()


def _named(text: str) -> Step:
    if text == "*":
        return _children
    name = re.sub(r"\\(.)", r"\1", text)
    return lambda value: [value[name]] if isinstance(value, dict) and name in value else ()


def _filter(text: str) -> Step:
    found = _FILTER.fullmatch(text)
    if found is None:
        raise JSONPathError(f"no filter that is understood: {text!r}")
    path, sign, literal = _path(found[1]), found[2], _literal(found[3]) if found[2] else None

    def holds(value: Any) -> bool:
        results = path.of(value, value)
        if not sign or not results:
            return bool(results)
        try:
            return bool(_COMPARE[sign](results[0], literal))
        except TypeError:  # a number and a text have no order
            return False

    return lambda value: [each for each in value if holds(each)] if isinstance(value, list) else ()


def _literal(text: str) -> Any:
    if text[0] in "\"'":
        return _unquoted(text)
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise JSONPathError(f"neither a number nor true, false or a quoted text: {text}") from error


def _unquoted(text: str) -> str:
    escapes = {"n": "\n", "t": "\t", "r": "\r"}
    return re.sub(r"\\(.)", lambda found: escapes.get(found[1], found[1]), text[1:-1])


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _descendants(value: Any) -> Iterator[Any]:
    """With the value itself."""
    yield value
    for child in _children(value):
        yield from _descendants(child)
