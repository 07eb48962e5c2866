"""`clustermesh-dbg troubleshoot`: walk the way from this node to an etcd, and say where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from cli.dbg.agent import get, with_host
from cli.dbg.output import Output, with_output
from cli.duration import duration
from cli.errors import CommandError
from cli.running import run, say
from peering import diagnosis, troubleshoot
from peering.diagnosis import Diagnosis

PEERS_DIRECTORY = Path("/var/lib/cilium/clustermesh")
ETCD_CONFIG = Path("/var/lib/etcd-config/etcd.config")

_timeout = click.option("--timeout", type=duration, default="5s", show_default=True, help="For each step.")


@click.command()
@click.argument("clusters", nargs=-1)
@click.option(
    "--clustermesh-config", type=click.Path(path_type=Path), default=PEERS_DIRECTORY, show_default=True
)
@click.option(
    "--without-service-resolution", is_flag=True, help="Do not ask the agent where Services are: DNS only."
)
@_timeout
@with_host
@with_output
def clustermesh(
    *,
    clusters: tuple[str, ...],
    clustermesh_config: Path,
    without_service_resolution: bool,
    timeout: float,
    host: str,
    output: Output,
) -> None:
    """Walk the way to peers' etcds, by default to all; exit 1 when one is broken."""
    agent = "" if without_service_resolution else host
    _show(run(_peers(clustermesh_config, clusters, timeout, agent)), output)


@click.command()
@click.option("--etcd-config", type=click.Path(path_type=Path), default=ETCD_CONFIG, show_default=True)
@_timeout
@with_output
def kvstore(etcd_config: Path, timeout: float, output: Output) -> None:
    """Walk the way to this cluster's own etcd; exit 1 when it is broken."""
    _show([run(troubleshoot.diagnose("kvstore", etcd_config, timeout))], output)


async def _peers(directory: Path, names: Sequence[str], seconds: float, agent: str) -> list[Diagnosis]:
    try:
        found = troubleshoot.configured(directory, names)
    except OSError as error:
        raise CommandError(f"{directory}: {error.strerror or error}") from error
    if not found:
        say(f"no peer is configured in {directory}")
    services = {host: await _service(agent, host, seconds) for host in troubleshoot.hosts(found)}
    return await troubleshoot.peers(found, seconds, resolve=lambda host: services.get(host, ()))


async def _service(agent: str, host: str, seconds: float) -> Sequence[str]:
    """Where the agent finds a Service of this name; empty when it is none, or the agent is not asked."""
    if not agent or ".svc" not in host:
        return ()
    try:
        return msgspec.json.decode(await get(agent, f"/v1/resolve/{host}", seconds), type=list[str])
    except (CommandError, ValueError) as error:
        say(f"the agent does not say where {host} is, DNS is asked: {error}")
        return ()


def _show(found: Sequence[Diagnosis], output: Output) -> None:
    if not output.is_table:
        click.echo(output.of_object(diagnosis.as_objects(found)), nl=False)
    else:
        click.echo(diagnosis.as_text(found))
    if not all(each.is_well for each in found):
        raise SystemExit(1)
