"""`clustermesh-dbg verify`: is the kernel as the agent wants it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from cli.dbg.agent import get, with_host, with_output
from cli.dbg.column import columns
from cli.duration import duration
from cli.errors import CommandError
from cli.running import run

PATH = "/v1/verify"
EXAMPLES = """\b
Examples:
  clustermesh-dbg verify                      every map and hook, in one table
  clustermesh-dbg verify -o json | jq '.maps[] | select(.counts.missing > 0)'
"""

Object = Mapping[str, Any]


@click.command(epilog=EXAMPLES)
@click.option("--timeout", type=duration, default="90s", show_default=True, help="For the whole comparison.")
@with_host
@with_output
def verify(*, host: str, timeout: float, output: str) -> None:
    """Compare every kernel map with what the agent wants in it; exit 1 when one differs.

    What changes while it is read is looked at again, so a busy mesh has no false differences. Changes
    nothing: the agent mends its maps by itself, at the latest with its next compare.
    """
    body, text, is_equal = run(_read(host, timeout))
    click.echo(body.rstrip(b"\n") if output == "json" else text, nl=output == "json")
    if not is_equal:
        raise SystemExit(1)


async def _read(host: str, seconds: float) -> tuple[bytes, str, bool]:
    """The answer, in words, and whether all is equal."""
    body = await get(host, PATH, seconds)
    try:
        found = msgspec.json.decode(body, type=dict[str, Any])
        return body, as_text(found), bool(found["equal"])
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"the agent's answer to {PATH} is not understood: {error!r}") from error


def as_text(found: Object) -> str:
    """A line for each map, then each difference in the words of `bpf ... list`."""
    head = ("MAP", "WANTED", "ENTRIES", "MISSING", "EXTRA", "DIFFERENT", "MOVING")
    text = columns(head, [_row(each) for each in found["maps"]])
    for each in found["maps"]:
        text += "".join(f"{line}\n" for line in _differences(each))
    text += "".join(
        f"{table}: the agent cannot write: {error}\n" for table, error in sorted(found["errors"].items())
    )
    verdict = "equal" if found["equal"] else "different"
    moving = "" if found["settled"] else "; entries that moved all the time were left out"
    return f"{text}{verdict} at revision {found['revision']}, in {found['seconds']:g} s{moving}\n"


def _row(state: Object) -> Sequence[str]:
    counts = state["counts"]
    numbers = (
        *(state["wanted"], state["entries"]),
        *(counts["missing"], counts["extra"], counts["different"], state["moving"]),
    )
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
