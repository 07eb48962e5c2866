"""`clustermesh-dbg status`."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from cli import agentreport
from cli.dbg import statustext
from cli.dbg.agent import get, with_host
from cli.dbg.output import Output, with_output
from cli.duration import duration
from cli.errors import CommandError
from cli.running import run
from peering.clusterreport import RemoteCluster

PATH = "/v1/healthz"


@click.command()
@with_host
@click.option("--all-clusters", is_flag=True, help="Details of every peer, not only of those not ready.")
@click.option(
    "--all-nodes",
    is_flag=True,
    help="Every node of a peer that is probed, its health endpoint, and how fast both answer.",
)
@click.option("--all-health", is_flag=True, help="As --all-nodes.")
@click.option("--all-addresses", is_flag=True, help="Every address that a pod of this node has, and which.")
@click.option("--all-controllers", is_flag=True, help="Taken for scripts' sake: this agent has none.")
@click.option("--all-redirects", is_flag=True, help="Taken for scripts' sake: this agent has none.")
@click.option("--verbose", is_flag=True, help="As all of these.")
@click.option("--brief", is_flag=True, help="OK, or the first component with an error.")
@click.option("--timeout", type=duration, default="30s", show_default=True)
@with_output
def status(
    *,
    host: str,
    all_clusters: bool,
    all_nodes: bool,
    all_health: bool,
    all_addresses: bool,
    verbose: bool,
    brief: bool,
    timeout: float,
    output: Output,
    **_: bool,
) -> None:
    """Show the agent's state; exit 1 unless its components are well."""
    body, found, peers = run(_read(host, timeout))
    verdict = statustext.brief(found)
    if brief:
        click.echo(verdict)
    elif not output.is_table:
        click.echo(output.of(body), nl=False)
    else:
        text = statustext.full(
            found,
            peers,
            all_clusters=all_clusters or verbose,
            all_nodes=all_nodes or all_health or verbose,
            all_addresses=all_addresses or verbose,
        )
        click.echo(text, nl=False)
    if verdict != "OK":
        raise SystemExit(1)


async def _read(host: str, seconds: float) -> tuple[bytes, dict[str, Any], list[RemoteCluster]]:
    body = await get(host, PATH, seconds)
    try:
        return body, msgspec.json.decode(body, type=dict[str, Any]), agentreport.peers(body)
    except ValueError as error:
        raise CommandError(f"the agent's answer to {PATH} is not understood: {error}") from error
