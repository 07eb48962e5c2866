"""`clustermesh-apiserver clustermesh-dbg` and `kvstoremesh-dbg`: looking into a running container.

What they print is what Cilium's commands of the same names print, as far as operators and its own
`cilium clustermesh status` read it. They change nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from peering import clustertext, diagnosis, troubleshoot
from peering.clusterreport import RemoteCluster
from peering.diagnosis import Diagnosis

HEALTH_ADDRESS = "localhost:9880"
API_ADDRESS = "localhost:9889"
ETCD_CONFIG = Path("/var/lib/cilium/etcd-config.yaml")
PEERS_DIRECTORY = Path("/var/lib/cilium/clustermesh")
MAX_SECONDS = 300.0

_output = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
_timeout = click.option(
    "--timeout",
    type=click.FloatRange(0.1, MAX_SECONDS),
    default=troubleshoot.DEFAULT_SECONDS,
    show_default=True,
    help="Seconds for each step.",
)


class _Kind(msgspec.Struct, rename="kebab"):
    scope: str
    synced: bool
    stored: int
    queued: int
    refused: int
    digest: str
    last_error: str = ""


class _Exported(msgspec.Struct, rename="kebab"):
    cluster: str
    ready: bool
    kinds: list[_Kind]
    heartbeat_error: str = ""


@click.group()
def clustermesh_dbg() -> None:
    """Look into the exporter."""


@click.group()
def kvstoremesh_dbg() -> None:
    """Look into KVStoreMesh."""


@clustermesh_dbg.command("troubleshoot")
@click.option("--etcd-config", type=click.Path(path_type=Path), default=ETCD_CONFIG, show_default=True)
@_timeout
@_output
def troubleshoot_kvstore(etcd_config: Path, timeout: float, output: str) -> None:
    """Walk the way to our own etcd; exit 1 when it is broken."""
    _show([asyncio.run(troubleshoot.diagnose("kvstore", etcd_config, timeout))], output)


@clustermesh_dbg.command("status")
@click.option("--address", default=HEALTH_ADDRESS, show_default=True, metavar="HOST:PORT")
@_timeout
@_output
def export_status(address: str, timeout: float, output: str) -> None:
    """Show what the exporter has stored, with a digest of each kind, and why something is not."""
    body = asyncio.run(_get(f"http://{address}/v1/status", timeout))
    if output == "json":
        click.echo(body)
        return
    try:
        said = msgspec.json.decode(body, type=_Exported)
    except ValueError as error:
        raise click.ClickException(f"the answer is no status of an exporter: {error}") from error
    click.echo(f"Cluster {said.cluster}: {'ready' if said.ready else 'not-ready'}")
    if said.heartbeat_error:
        click.echo(f"Heartbeat not written: {said.heartbeat_error}")
    row = "{:<20}{:<8}{:>10}{:>10}{:>9}  {}"
    click.echo(row.format("SCOPE", "SYNCED", "STORED", "QUEUED", "REFUSED", "DIGEST"))
    for kind in said.kinds:
        synced = "true" if kind.synced else "false"
        click.echo(row.format(kind.scope, synced, kind.stored, kind.queued, kind.refused, kind.digest or "-"))
        if kind.last_error:
            click.echo(f"  └ last error: {kind.last_error}")


@kvstoremesh_dbg.command("troubleshoot")
@click.argument("clusters", nargs=-1)
@click.option(
    "--clustermesh-config", type=click.Path(path_type=Path), default=PEERS_DIRECTORY, show_default=True
)
@_timeout
@_output
def troubleshoot_peers(
    clusters: tuple[str, ...], clustermesh_config: Path, timeout: float, output: str
) -> None:
    """Walk the way to the etcds of peers, by default of all; exit 1 when one is broken."""
    try:
        found = troubleshoot.configured(clustermesh_config, clusters)
    except OSError as error:
        raise click.ClickException(f"{clustermesh_config}: {error.strerror or error}") from error
    _show(asyncio.run(troubleshoot.peers(found, timeout)), output)


@kvstoremesh_dbg.command()
@click.option("--api-serve-addr", default=API_ADDRESS, show_default=True, metavar="HOST:PORT")
@click.option("--verbose", is_flag=True, help="Details of every peer, not only of those not ready.")
@_timeout
@_output
def status(api_serve_addr: str, verbose: bool, timeout: float, output: str) -> None:
    """Show KVStoreMesh's peers."""
    body = asyncio.run(_get(f"http://{api_serve_addr}/v1/cluster", timeout))
    try:
        peers = msgspec.json.decode(body, type=list[RemoteCluster])
    except ValueError as error:
        raise click.ClickException(f"the answer is no list of remote clusters: {error}") from error
    if output == "json":
        click.echo(body)
    else:
        click.echo("\n".join(clustertext.lines("KVStoreMesh:   ", peers, all_clusters=verbose)))


async def _get(url: str, seconds: float) -> bytes:
    import aiohttp  # noqa: PLC0415 - help stays quick

    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            body = await answer.read()
    except TimeoutError as error:
        raise click.ClickException(f"no answer from {url} within {seconds:g} s") from error
    except (aiohttp.ClientError, ValueError, OSError) as error:
        raise click.ClickException(f"nobody answers at {url}: is it running here? ({error})") from error
    if answer.status != 200:
        raise click.ClickException(f"{url} answered {answer.status}")
    return body


def _show(found: Sequence[Diagnosis], output: str) -> None:
    if output == "json":
        click.echo(msgspec.json.encode(diagnosis.as_objects(found)))
    else:
        click.echo(diagnosis.as_text(found))
    if not all(each.is_well for each in found):
        raise SystemExit(1)
