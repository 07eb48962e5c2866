"""`clustermesh-dbg verify`: is the kernel as the agent wants it?"""

from __future__ import annotations

from typing import Any

import click
import msgspec

from cli import verifytext
from cli.dbg.agent import get, with_host
from cli.dbg.output import Output, with_output
from cli.duration import duration
from cli.errors import CommandError
from cli.running import run

PATH = "/v1/verify"


@click.command()
@click.option("--timeout", type=duration, default="90s", show_default=True, help="For the whole comparison.")
@with_host
@with_output
def verify(*, host: str, timeout: float, output: Output) -> None:
    """Compare every kernel map with what the agent wants in it; exit 1 when one differs.

    What changes while it is read is looked at again, so a busy mesh has no false differences. Changes
    nothing: the agent mends its maps by itself, at the latest with its next compare.
    """
    body, text, is_equal = run(_read(host, timeout))
    click.echo(text if output.is_table else output.of(body), nl=False)
    if not is_equal:
        raise SystemExit(1)


async def _read(host: str, seconds: float) -> tuple[bytes, str, bool]:
    """The answer, in words, and whether all is equal."""
    body = await get(host, PATH, seconds)
    try:
        found = msgspec.json.decode(body, type=dict[str, Any])
        return body, verifytext.as_text(found), bool(found["equal"])
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"the agent's answer to {PATH} is not understood: {error!r}") from error
