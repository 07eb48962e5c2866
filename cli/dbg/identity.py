"""`clustermesh-dbg identity list`: all that are known, those with some labels, or those of this node's
endpoints. And `identity get`: one, by its number or by its labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import click
import msgspec

from cli.dbg import table
from cli.dbg.agent import get, with_host
from cli.dbg.listing import shown
from cli.dbg.output import Output, with_output
from cli.errors import CommandError
from cli.running import run

IDENTITIES, OF_ENDPOINTS = "/v1/identity", "/v1/identity/endpoints"
Object = Mapping[str, Any]


@click.command("list")
@click.argument("labels", metavar="[LABEL…]", nargs=-1)
@click.option("--endpoints", is_flag=True, help="Those of this node's endpoints, and how many have each.")
@with_host
@with_output
def identities(*, host: str, labels: tuple[str, ...], endpoints: bool, output: Output) -> None:
    """List identities and their labels: all, or those with every LABEL, as k8s:app=web; exit 1 for none."""
    if endpoints:
        found = run(_read(host, OF_ENDPOINTS, labels, lambda each: each["identity"]))
        shown: table.Render = table.identities_of_endpoints
    else:
        found, shown = run(_read(host, IDENTITIES, labels, lambda each: each)), table.identities
    click.echo(shown(found) if output.is_table else output.of_object(found), nl=False)
    if labels and not found:
        raise SystemExit(1)


@click.command("get")
@click.argument("number", metavar="[ID]", required=False)
@click.option("--label", "labels", metavar="LABEL", multiple=True, help="Instead of ID: all of its labels.")
@with_host
@with_output
def identity(*, host: str, number: str | None, labels: tuple[str, ...], output: Output) -> None:
    """Show one identity, by its number or by exactly its labels, as --label k8s:app=web. Exit 1: none."""
    if bool(number) == bool(labels):
        raise click.UsageError("an ID or --label is needed")
    if number:
        path = f"{IDENTITIES}/{quote(number, safe=':')}"
        click.echo(run(shown(host, path, lambda found: table.identities([found]), output)), nl=False)
        return
    having = run(_read(host, IDENTITIES, labels, lambda each: each))
    found = next((each for each in having if len(each.get("labels") or ()) == len(set(labels))), None)
    if found is None:
        raise click.ClickException(f"no identity has exactly the labels {', '.join(labels)}")
    click.echo(table.identities([found]) if output.is_table else output.of_object(found), nl=False)


async def _read(
    host: str, path: str, labels: Sequence[str], identity: Callable[[Object], Object]
) -> list[Object]:
    body = await get(host, path)
    try:
        return [each for each in msgspec.json.decode(body) if has_labels(identity(each), labels)]
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(f"the agent's answer to {path} is not understood: {error!r}") from error


def has_labels(identity: Object, labels: Sequence[str]) -> bool:
    """A label without a value may be written with an equals sign, as Cilium's API has it, or without."""
    known = {label.removesuffix("=") for label in identity.get("labels") or ()}
    return known.issuperset(label.removesuffix("=") for label in labels)
