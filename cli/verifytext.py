"""What an agent's comparison with its kernel says, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cli.dbg.column import columns

Object = Mapping[str, Any]
_SORTS = ("missing", "extra", "different")


def as_text(found: Object) -> str:
    """A line for each map, then each difference in the words of `bpf ... list`."""
    head = ("MAP", "WANTED", "ENTRIES", "MISSING", "EXTRA", "DIFFERENT", "MOVING")
    text = columns(head, [_row(each) for each in found["maps"]])
    text += "".join(f"{line}\n" for line in differences(found))
    verdict = "equal" if found["equal"] else "different"
    moving = "" if found["settled"] else "; entries that moved all the time were left out"
    return f"{text}{verdict} at revision {found['revision']}, in {found['seconds']:g} s{moving}\n"


def differences(found: Object) -> list[str]:
    """A line for each; and why something could not be written."""
    lines = [line for each in found["maps"] for line in _differences(each)]
    return lines + [
        f"{table}: the agent cannot write: {why}" for table, why in sorted(found["errors"].items())
    ]


def summary(found: Object) -> Sequence[str]:
    """Verdict, entries and differences of all maps together."""
    counts = [sum(each["counts"][sort] for each in found["maps"]) for sort in _SORTS]
    entries = sum(each["entries"] for each in found["maps"])
    return ("equal" if found["equal"] else "different", *map(str, (entries, *counts)))


def _row(state: Object) -> Sequence[str]:
    counts = state["counts"]
    numbers = (state["wanted"], state["entries"], *(counts[sort] for sort in _SORTS), state["moving"])
    return (state["name"], *map(str, numbers))


def _differences(state: Object) -> list[str]:
    lines = [f"missing    {each['key']}   {each['value']}" for each in state["missing"]]
    lines += [f"extra      {each['key']}   {each['value']}" for each in state["extra"]]
    lines += [
        f"different  {each['key']}   {each['value']}   (wanted: {each['wanted']})"
        for each in state["different"]
    ]
    left = sum(state["counts"].values()) - len(lines)
    if left > 0:
        lines.append(f"... and {left} more")
    lines += [f"unfit      {each['key']}   {each['reason']}" for each in state["unfit"]]
    return [f"{state['name']}  {line}" for line in lines]
