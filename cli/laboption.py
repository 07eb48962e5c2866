"""What the commands of `clustermesh lab` share: the lab's name, where talk and data go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

DEFAULT_LAB = "lab"
F = TypeVar("F", bound=Callable[..., Any])


def name_option(function: F) -> F:
    """`--name` after the subcommand too; what stands last wins."""

    def remember(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            context.obj = value

    return click.option(
        "--name", callback=remember, expose_value=False, help=f"The lab's name (default: {DEFAULT_LAB})."
    )(function)


output_option = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")


def say(text: str) -> None:
    click.echo(text, err=True)


def fail(text: str) -> NoReturn:
    click.echo(f"Error: {text}", err=True)
    raise SystemExit(1)


def print_json(value: Any) -> None:
    import msgspec  # noqa: PLC0415 - see cli.lab

    click.echo(msgspec.json.encode(value))


def print_table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    cells = [header, *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        click.echo("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
