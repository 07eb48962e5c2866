"""`clustermesh version`."""

from __future__ import annotations

import importlib.metadata

import click
import msgspec

DISTRIBUTION = "clustermesh"


def installed() -> str:
    """The version of the installed package; "unknown" when run from bare sources."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@click.command()
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def version(output: str) -> None:
    """Print the version of this program."""
    if output == "json":
        click.echo(msgspec.json.encode({"version": installed()}))
    else:
        click.echo(f"clustermesh {installed()}")
