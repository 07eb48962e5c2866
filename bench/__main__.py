"""`./run bench NAME [-o json]`: measure, print. Progress and warnings go to standard error."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import click
from rich.console import Console

from bench.figure import Figure, as_json, as_table
from bench.proxy import measure

OUTPUT = click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True
)


@click.group()
def main() -> None:
    """What the parts cost, each figure beside its floor measured in the same run."""


@main.command()
@OUTPUT
@click.option("--keys", type=click.IntRange(1), default=100_000, show_default=True, help="For the list.")
@click.option("--watchers", type=click.IntRange(1), multiple=True, default=[10, 100, 1000], show_default=True)
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True)
def proxy(*, output: str, keys: int, watchers: list[int], runs: int) -> None:
    """Lists and watches through the proxy, in plain text and with mutual TLS, beside etcd directly."""
    with tempfile.TemporaryDirectory(prefix="clustermesh-bench-") as folder:
        figures = asyncio.run(measure(Path(folder), keys=keys, watchers=list(watchers), runs=runs))
    show(figures, output)


def show(figures: list[Figure], output: str) -> None:
    if output == "json":
        click.echo(as_json(figures))
    else:
        Console(width=None if os.isatty(1) else 140).print(as_table(figures))


if __name__ == "__main__":
    main()
