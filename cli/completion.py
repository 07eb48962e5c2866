"""`clustermesh completion SHELL`: the script that makes a shell complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a completion script, for example: source <(clustermesh completion bash)"""
    complete = get_completion_class(shell)
    assert complete is not None
    root = ctx.find_root()
    click.echo(complete(root.command, {}, "clustermesh", "_CLUSTERMESH_COMPLETE").source())
