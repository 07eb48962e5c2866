"""`clustermesh connect`: let clusters learn of each other. Everything is checked before the first change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import click

from certs import bundle
from cli import facts, peerfile, secret
from cli.check import Check
from cli.checkoption import with_dial, with_skip_check
from cli.completing import complete_context
from cli.errors import RefusedError
from cli.facts import Address, ClusterFacts
from cli.links import MODES, Link, links
from cli.preflight import findings
from cli.running import run, say
from cli.survey import is_remote, surveyed
from cli.target import Target, split, with_target
from k8s.client import Client


@dataclass(frozen=True, slots=True)
class Member:
    """One cluster of a command: how to talk to it and what it said."""

    client: Client
    facts: ClusterFacts


@click.command()
@with_target
@click.option(
    "--destination-context",
    "contexts",
    multiple=True,
    shell_complete=complete_context,
    required=True,
    help="Context of a cluster to connect to; repeat it or separate several by commas.",
)
@click.option("--connection-mode", type=click.Choice(MODES), default="bidirectional", show_default=True)
@click.option("--destination-endpoint", multiple=True, help="IP:PORT at which the destination is reached.")
@click.option("--source-endpoint", multiple=True, help="IP:PORT at which this cluster is reached.")
@click.option(
    "--allow-mismatching-ca", is_flag=True, help="Let each cluster trust the other's authority too."
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
    allow_mismatching_ca: bool,
    skip_check: tuple[Check, ...],
    dial: bool | None,
) -> None:
    """Connect this cluster with others."""
    destinations = split(contexts)
    if destination_endpoint and len(destinations) > 1:
        raise click.UsageError("--destination-endpoint is for one destination only")
    given = {"": _addresses(source_endpoint)}
    given |= dict.fromkeys(destinations, _addresses(destination_endpoint))
    run(
        _connect(
            target,
            destinations,
            connection_mode,
            given,
            allow_mismatching_ca=allow_mismatching_ca,
            skip=skip_check,
            dial=dial,
        )
    )


async def _connect(
    target: Target,
    destinations: Sequence[str],
    mode: str,
    given: Mapping[str, tuple[Address, ...]],
    *,
    allow_mismatching_ca: bool,
    skip: Collection[Check] = (),
    dial: bool | None = None,
) -> None:
    async with members(target, destinations) as found:
        local, *remotes = [_at(member, given.get(key, ())) for key, member in found.items()]
        await examine(local, remotes, allow_mismatching_ca=allow_mismatching_ca, skip=skip, dial=dial)
        by_name = {member.facts.name: member for member in (local, *remotes)}
        if allow_mismatching_ca:
            await _share_trust(list(by_name.values()))
        for link in links(mode, local.facts.name, [remote.facts.name for remote in remotes]):
            await _link(by_name, link)


@asynccontextmanager
async def members(target: Target, contexts: Sequence[str]) -> AsyncGenerator[dict[str, Member]]:
    """Clients and facts of the local cluster (key "") and of the others, by context."""
    async with AsyncExitStack() as stack:
        found: dict[str, Member] = {}
        for key, of in [("", target), *((context, target.other(context)) for context in contexts)]:
            client = await stack.enter_async_context(of.connect())
            found[key] = Member(client, await facts.read(client, of))
        yield found


async def examine(
    local: Member,
    remotes: Sequence[Member],
    *,
    allow_mismatching_ca: bool,
    skip: Collection[Check] = (),
    dial: bool | None = None,
) -> None:
    """Look at everything before the first change. Raises RefusedError; says what only may be wrong."""
    ours, *others = await surveys([local, *remotes], datetime.now(UTC), dial=dial)
    found = findings(ours, others, allow_mismatching_ca=allow_mismatching_ca, skip=skip)
    for finding in found:
        if not finding.refuses:
            say(f"warning: {finding.text}")
    if reasons := [finding.text for finding in found if finding.refuses]:
        raise RefusedError(reasons)


async def surveys(clusters: Sequence[Member], now: datetime, *, dial: bool | None) -> list[ClusterFacts]:
    """What the clusters said, with all that had to be looked for. `dial` None: where that says anything."""
    if dial is None:
        dial = all(is_remote(each.client.server) for each in clusters)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(
                surveyed(each.client, each.facts, now, dial=dial), name=f"survey {each.facts.target.label}"
            )
            for each in clusters
        ]
    return [task.result() for task in tasks]


async def _link(by_name: Mapping[str, Member], link: Link) -> None:
    """Let `link.reader` know how to reach `link.peer`."""
    reader, peer = by_name[link.reader], by_name[link.peer]
    namespace = reader.facts.target.namespace
    text = peerfile.remote(link.peer, peer.facts.addresses)
    files = peerfile.secrets({link.peer: text}, namespace, mirrored=reader.facts.kvstoremesh)
    applied = [
        await reader.client.apply(secret.SECRET, secret.files(namespace, *each)) for each in files.items()
    ]
    where = ", ".join(str(address) for address in peer.facts.addresses)
    known = "already knows" if set(applied) == {"unchanged"} else "now knows"
    say(f"{link.reader} {known} {link.peer} at {where}")


async def _share_trust(clusters: Sequence[Member]) -> None:
    """Let every leaf of every cluster accept the authorities of all."""
    everybody = bundle.merge(member.facts.trust for member in clusters if member.facts.trust)
    for member in clusters:
        namespace = member.facts.target.namespace
        for body in secret.bodies(namespace, secret.with_trust(member.facts.leaves, everybody)):
            await member.client.apply(secret.SECRET, body)


def _at(member: Member, given: tuple[Address, ...]) -> Member:
    if not given:
        return member
    known = replace(member.facts, addresses=given, service_type=member.facts.service_type)
    return Member(member.client, known)


def _addresses(values: Sequence[str]) -> tuple[Address, ...]:
    return tuple(_address(value) for value in split(values))


def _address(text: str) -> Address:
    ip, _, port = text.rpartition(":")
    if not ip or not port.isdigit():
        raise click.UsageError(f"{text!r} is not IP:PORT")
    return Address(ip.strip("[]"), int(port))
