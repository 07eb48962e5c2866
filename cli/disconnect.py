"""`clustermesh disconnect`: let clusters forget each other; their agents then drop what they learnt."""

from __future__ import annotations

from collections.abc import Sequence

import click

from cli import users
from cli.completing import complete_cluster, complete_context
from cli.errors import CommandError
from cli.links import MODES, links
from cli.members import Member, members
from cli.running import run, say
from cli.settings import MIRRORED_SECRET, PEERS_SECRET
from cli.target import Target, split, with_target
from k8s.resource import SECRET


@click.command()
@with_target
@click.option(
    "--destination-context",
    "contexts",
    multiple=True,
    shell_complete=complete_context,
    help="Context of a cluster to disconnect from; repeat it or separate several by commas.",
)
@click.option(
    "--cluster",
    "peers",
    multiple=True,
    shell_complete=complete_cluster,
    help="Name of a cluster to forget here only: it is not asked, and may be gone for good. Repeatable.",
)
@click.option("--connection-mode", type=click.Choice(MODES), default="bidirectional", show_default=True)
def disconnect(
    *, target: Target, contexts: tuple[str, ...], peers: tuple[str, ...], connection_mode: str
) -> None:
    """Disconnect this cluster from others."""
    if bool(contexts) == bool(peers):
        raise click.UsageError("give one of --destination-context and --cluster")
    if peers:
        return run(_forget(target, split(peers)))
    return run(_disconnect(target, split(contexts), connection_mode))


async def _forget(target: Target, peers: Sequence[str]) -> None:
    async with members(target, []) as found:
        [local] = found.values()
        known = local.facts.peers | local.facts.mirrored
        for peer in peers:
            if peer not in known:
                told = ", ".join(sorted(known)) or "nobody"
                raise CommandError(f"{local.facts.name} does not know {peer}: it knows {told}")
        for peer in peers:
            await unlink(local, peer)
            await shut_out(local, peer)
            say(f"{peer} is not told: there, run 'clustermesh disconnect --cluster {local.facts.name}'")


async def _disconnect(target: Target, destinations: Sequence[str], mode: str) -> None:
    async with members(target, destinations) as found:
        local, *remotes = found.values()
        nameless = [member.facts.target.label for member in found.values() if not member.facts.name]
        if nameless:
            raise CommandError(f"no cluster name known for {', '.join(nameless)}: nothing to disconnect")
        by_name = {member.facts.name: member for member in (local, *remotes)}
        for link in links(mode, local.facts.name, [remote.facts.name for remote in remotes]):
            await unlink(by_name[link.reader], link.peer)
            await shut_out(by_name[link.peer], link.reader)


async def shut_out(host: Member, cluster: str) -> None:
    """Where the cluster keeps a list of who may read it, that one is not on it."""
    await users.shut_out(host.client, host.facts.target.namespace, host.facts.name, cluster)


async def unlink(reader: Member, peer: str) -> None:
    facts = reader.facts
    if peer not in facts.peers | facts.mirrored:
        told = ", ".join(sorted(facts.peers | facts.mirrored)) or "nobody"
        say(f"{facts.name} does not know {peer}: it knows {told}")
        return
    # agents first: they let go of what KVStoreMesh is then told to clear away
    for name, peers in ((PEERS_SECRET, facts.peers), (MIRRORED_SECRET, facts.mirrored)):
        if peer in peers:
            patch = {"data": {peer: None}}
            await reader.client.merge_patch(SECRET, name, patch, facts.target.namespace)
    say(f"{facts.name} no longer knows {peer}")
