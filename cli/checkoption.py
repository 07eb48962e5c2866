"""The options of checks before a connection: which to pass over, and whether addresses are dialled."""

from __future__ import annotations

from collections.abc import Sequence

import click

from cli import check
from cli.check import Check


def _checks(_context: click.Context, _option: click.Parameter, names: Sequence[str]) -> tuple[Check, ...]:
    return tuple(check.of(name) for name in names)


with_skip_check = click.option(
    "--skip-check",
    multiple=True,
    type=click.Choice([each.label for each in check.SKIPPABLE]),
    callback=_checks,
    help="Go on in spite of this check; repeat it for several.",
)

with_dial = click.option(
    "--dial/--no-dial",
    default=None,
    help="Dial the clusters' addresses from this machine (default: unless an API server is on loopback).",
)
