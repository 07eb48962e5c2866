"""`clustermesh-dbg bpf lb list`: the service maps of both families, as one list."""

from __future__ import annotations

import click

from cli.dbg import table
from cli.dbg.agent import with_host
from cli.dbg.listing import shown
from cli.dbg.output import Output, with_output
from cli.running import run

_SERVICES = "services_v2"
_VIEWS: dict[str, tuple[str, table.Render]] = {  # flag -> the maps' name behind the family, and the table
    "revnat": ("reverse_nat", table.map_entries("ID", table.BACKEND_ADDRESS)),
    "frontends": (_SERVICES, table.frontends),
    "backends": ("backends_v3", table.map_entries("BACKEND ID", table.BACKEND_ADDRESS)),
    "source-ranges": ("source_range", table.source_ranges),
}


@click.command("list")
@click.option("--revnat", is_flag=True, help="Frontends by the ids that answers are translated back with.")
@click.option("--frontends", is_flag=True, help="Frontends only: their master entries.")
@click.option("--backends", is_flag=True, help="Backends by their ids.")
@click.option("--source-ranges", is_flag=True, help="Networks whose clients a frontend is for, or not for.")
@with_host
@with_output
def bpf_lb(
    *, host: str, revnat: bool, frontends: bool, backends: bool, source_ranges: bool, output: Output
) -> None:
    """List the kernel's service frontends and backends."""
    given = dict(zip(_VIEWS, (revnat, frontends, backends, source_ranges), strict=True))
    chosen = [view for flag, view in _VIEWS.items() if given[flag]]
    if len(chosen) > 1:
        raise click.UsageError(f"one of --{', --'.join(_VIEWS)} at a time")
    name, render = chosen[0] if chosen else (_SERVICES, table.load_balancer)
    paths = [f"/v1/map/cilium_lb{version}_{name}" for version in (4, 6)]
    click.echo(run(shown(host, paths[0], render, output, paths[1])), nl=False)
