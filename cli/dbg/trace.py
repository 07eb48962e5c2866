"""`clustermesh-dbg trace SRC DST:PORT`: the way of one new connection, as the agent on SRC's node sees it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import click
import msgspec

from cli import tracetext
from cli.dbg.agent import get, with_host
from cli.dbg.output import Output, with_output
from cli.errors import CommandError
from cli.running import run
from cli.tracedestination import Destination, with_destination

PATH = "/v1/trace"


@click.command()
@click.argument("source", metavar="SRC")
@with_destination
@with_host
@with_output
def trace(*, host: str, source: str, destination: Destination, output: Output) -> None:
    """Tell the way of a new connection from SRC to DST:PORT, without opening one.

    SRC is an endpoint of this node: namespace/pod, address or number; identity:NUMBER; or client:ADDRESS,
    outside of the cluster, which asks this node at a node port, an external or a load balancer's address.
    DST is a service (name, namespace/name, name.namespace.svc), a pod of this cluster (namespace/name) or an
    address. Exit status 0: every way is allowed, and the kernel says the same; 1: else.
    """
    body, text, is_well = run(_read(host, source, destination))
    click.echo(text if output.is_table else output.of(body), nl=False)
    if not is_well:
        raise SystemExit(1)


async def _read(host: str, source: str, destination: Destination) -> tuple[bytes, str, bool]:
    """The answer, in words, and whether all is as one would wish."""
    body = await get(host, f"{PATH}?{urlencode(destination.query(source))}")
    try:
        found = msgspec.json.decode(body, type=dict[str, Any])
        return body, tracetext.as_text(found), tracetext.is_well(found)
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"the agent's answer to {PATH} is not understood: {error!r}") from error
