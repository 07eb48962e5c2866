"""`clustermesh connect`: let clusters learn of each other. Everything is checked before the first change."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import click

from certs.bundle import TrustBundle
from cli.check import Check
from cli.checkoption import with_dial, with_skip_check
from cli.completing import complete_context
from cli.exchange import export_bundle, import_bundles
from cli.facts import Address, ClusterFacts
from cli.links import MODES, Link, links
from cli.manifest import Manifest
from cli.manifesttext import as_yaml
from cli.members import (
    Judging,
    Member,
    judge,
    let_in,
    letting_in,
    members,
    share_trust,
    surveys,
    tell,
    telling,
    trusting,
)
from cli.running import run
from cli.target import Target, split, with_target
from k8s.resource import CONFIGMAP, SECRET

MAX_PORT = 65535


@click.command()
@with_target
@click.option(
    "--destination-context",
    "contexts",
    multiple=True,
    shell_complete=complete_context,
    help="Context of a cluster to connect to; repeat it or separate several by commas.",
)
@click.option("--connection-mode", type=click.Choice(MODES), default="bidirectional", show_default=True)
@click.option("--destination-endpoint", multiple=True, help="IP:PORT at which the destination is reached.")
@click.option("--source-endpoint", multiple=True, help="IP:PORT at which this cluster is reached.")
@click.option(
    "--dry-run", is_flag=True, help="Print each cluster's objects as YAML, without keys, and change nothing."
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="How many clusters are changed at once.",
)
@click.option(
    "--allow-mismatching-ca", is_flag=True, help="Let each cluster trust the other's authority too."
)
@click.option(
    "--export",
    "export_path",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write this cluster's peer bundle to a file (-: stdout) and change nothing.",
)
@click.option(
    "--import",
    "import_paths",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    multiple=True,
    help="Let this cluster know the one that a peer bundle is of; repeatable.",
)
@with_skip_check
@with_dial
def connect(
    *,
    target: Target,
    contexts: tuple[str, ...],
    connection_mode: str,
    destination_endpoint: tuple[str, ...],
    source_endpoint: tuple[str, ...],
    dry_run: bool,
    parallel: int,
    allow_mismatching_ca: bool,
    export_path: Path | None,
    import_paths: tuple[Path, ...],
    skip_check: tuple[Check, ...],
    dial: bool | None,
) -> None:
    """Connect this cluster with others: by their contexts, or by exchanged peer bundles.

    A peer bundle is a file without secrets. Each side exports its own and imports the other's, so that nobody
    needs the other's kubeconfig.
    """
    destinations = split(contexts)
    if sum(map(bool, (destinations, export_path, import_paths))) != 1:
        raise click.UsageError("give one of --destination-context, --export and --import")
    if dry_run and not destinations:
        raise click.UsageError("--dry-run goes with --destination-context")
    if target.context and target.context in destinations:
        raise click.UsageError(
            f"{target.context} is this cluster itself: leave it out of --destination-context"
        )
    judging = Judging(allow_mismatching_ca, skip_check, dial)
    if export_path:
        return run(export_bundle(target, export_path, _addresses(source_endpoint), judging))
    if import_paths:
        return run(import_bundles(target, import_paths, _addresses(destination_endpoint), judging))
    if destination_endpoint and len(destinations) > 1:
        raise click.UsageError("--destination-endpoint is for one destination only")
    given = {"": _addresses(source_endpoint)}
    given |= dict.fromkeys(destinations, _addresses(destination_endpoint))
    return run(
        _connect(target, destinations, connection_mode, given, judging, parallel=0 if dry_run else parallel)
    )


async def _connect(
    target: Target,
    destinations: Sequence[str],
    mode: str,
    given: Mapping[str, tuple[Address, ...]],
    judging: Judging,
    *,
    parallel: int,
) -> None:
    """`parallel` 0: only show."""
    async with members(target, destinations) as found:
        clusters = [_at(member, given.get(key, ())) for key, member in found.items()]
        ours, *others = await surveys(clusters, datetime.now(UTC), dial=judging.dial)
        judge(ours, others, judging)
        by_name = {member.facts.name: member for member in clusters}
        wanted = links(mode, ours.name, [other.name for other in others])
        if not parallel:
            trust = [each.facts.trust for each in clusters] if judging.allow_mismatching_ca else []
            return await _show(by_name, wanted, trust)
        if judging.allow_mismatching_ca:
            await share_trust(clusters, [member.facts.trust for member in clusters])
        for link in wanted:
            await let_in(by_name[link.peer], link.reader)
        turns = asyncio.Semaphore(parallel)
        async with asyncio.TaskGroup() as group:
            for name in dict.fromkeys(link.reader for link in wanted):
                peers = [by_name[link.peer].facts for link in wanted if link.reader == name]
                group.create_task(_tell(by_name[name], peers, turns), name=f"tell {name}")
        return None


async def _show(
    by_name: Mapping[str, Member], wanted: Sequence[Link], trust: Sequence[TrustBundle | None]
) -> None:
    for name, member in by_name.items():
        bodies = trusting(member.facts, trust) if trust else []
        for link in wanted:
            if link.reader == name:
                bodies += telling(member.facts, by_name[link.peer].facts)
        shown = [Manifest(SECRET, body) for body in bodies]
        if listed := await letting_in(member, [link.reader for link in wanted if link.peer == name]):
            shown.append(Manifest(CONFIGMAP, listed))
        if shown:
            click.echo(f"# cluster {name}\n{as_yaml(shown)}---")


async def _tell(reader: Member, peers: Sequence[ClusterFacts], turns: asyncio.Semaphore) -> None:
    """One cluster's changes come one after another."""
    async with turns:
        for peer in peers:
            await tell(reader, peer)


def _at(member: Member, given: tuple[Address, ...]) -> Member:
    if not given:
        return member
    known = replace(member.facts, addresses=given, service_type=member.facts.service_type)
    return Member(member.client, known)


def _addresses(values: Sequence[str]) -> tuple[Address, ...]:
    return tuple(_address(value) for value in split(values))


def _address(text: str) -> Address:
    """Checked here: nobody resolves it later, and a typing error would only show as a peer that is away."""
    ip, _, port = text.rpartition(":")
    try:
        if not port.isdecimal() or not 1 <= int(port) <= MAX_PORT:
            raise ValueError
        return Address(str(ip_address(ip.removeprefix("[").removesuffix("]"))), int(port))
    except ValueError:
        raise click.UsageError(f"{text!r} is not IP:PORT") from None
