"""`clustermesh certs rotate-ca`: replace the authority of a cluster, and of those that share it.

Goes on where an earlier run was interrupted. Every peer must be named: who is not would be cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import click

from certs.rotation import Next, Step, next_step
from cli import clock, facts, secret
from cli.certs import rotation
from cli.certs.rotation import Member, Write
from cli.completing import complete_context
from cli.duration import duration
from cli.errors import RefusedError
from cli.running import run, say
from cli.settings import CA_SECRET, MIRRORED_SECRET, PEERS_SECRET, ROTATION_SECRET
from cli.target import Target, split, with_target
from k8s.client import Client

Place = tuple[Target, Client]
DOES = {
    Step.PREPARE: "a next authority is kept beside the present one",
    Step.TRUST: "everybody accepts both authorities",
    Step.REISSUE: "certificates are signed by the next authority",
    Step.FORGET: "nobody accepts the old authority any more",
    Step.FINISH: "the rotation is over",
}


@click.command("rotate-ca")
@with_target
@click.option(
    "--destination-context",
    "contexts",
    multiple=True,
    shell_complete=complete_context,
    help="Context of a connected cluster; name all, repeated or separated by commas.",
)
@click.option(
    "--settle",
    type=duration,
    default="3m",
    show_default=True,
    help="How long pods may go on with old files: the kubelet's period and cache, with room.",
)
@click.option("--step", is_flag=True, help="Do one step only, if its time has come.")
@click.option("--dry-run", is_flag=True, help="Say which step comes next and what it would write.")
def rotate_ca(*, target: Target, contexts: tuple[str, ...], settle: float, step: bool, dry_run: bool) -> None:
    """Replace the authority without a restart.

    Connections that were made under the old one are made anew when it is forgotten, at the last step.
    """
    run(_rotate(target, split(contexts), timedelta(seconds=settle), one_step=step, dry_run=dry_run))


async def _rotate(
    target: Target, contexts: Sequence[str], settle: timedelta, *, one_step: bool, dry_run: bool
) -> None:
    async with AsyncExitStack() as stack:
        targets = [target, *(target.other(context) for context in contexts)]
        places = [(each, await stack.enter_async_context(each.connect())) for each in targets]
        while True:
            members = {member.name: (place, member) for place, member in await _read(places)}
            found = [member for _, member in members.values()]
            following = next_step([member.as_cluster() for member in found], settle)
            now = await clock.now(places[0][1], target.label)
            if dry_run:
                _tell(following, rotation.writes(following.step, found, now), now)
                return
            if not following.is_ready(now):
                assert following.not_before is not None
                say(f"pods read their files anew: '{following.step.value}' not before {_time(following)}")
                if one_step:
                    return
                await asyncio.sleep((following.not_before - now).total_seconds())
            settled = max(now, following.not_before or now)
            await _write(
                {name: place for name, (place, _) in members.items()}, found, following.step, settled
            )
            say(f"{following.step.value}: {DOES[following.step]}")
            if one_step or following.step is Step.FINISH:
                return


async def _read(places: Sequence[Place]) -> list[tuple[Place, Member]]:
    """All clusters' Secrets. Raises RefusedError when one cannot take part or a peer was not named."""
    found, refused, peers = [], list[str](), set[str]()
    for target, client in places:
        name = (await facts.config_map(client, target.namespace)).get("cluster-name", "")
        names = (CA_SECRET, ROTATION_SECRET, PEERS_SECRET, MIRRORED_SECRET, *secret.LEAVES)
        data = {each: await facts.secret_data(client, each, target.namespace) for each in names}
        ca = data[CA_SECRET]
        leaves = {each: kept for each in secret.LEAVES if (kept := data[each]) is not None}
        for each in (PEERS_SECRET, MIRRORED_SECRET):
            peers |= facts.peer_names(data[each] or {}, name)
        if ca is None or not leaves:
            refused.append(
                f"{target.label} has no authority or no certificates: run 'clustermesh enable{target.flags}'"
            )
            continue
        if secret.CERTIFICATE in ca:
            refused.append(
                f"{target.label}: Secret {CA_SECRET} belongs to another tool (cert-manager?): replace the "
                "authority there, and let all clusters accept the new one first"
            )
        if secret.is_intermediate(ca):
            refused.append(
                f"{target.label} signs below a root that is kept elsewhere: replace its authority with "
                f"'clustermesh certs intermediate --root DIRECTORY{target.flags}'"
            )
        found.append(((target, client), Member(name, ca, leaves, data[ROTATION_SECRET])))
    given = [member.name for _, member in found]
    if missing := sorted(peers - set(given)) if not refused else []:
        refused.append(
            f"connected and not named: {', '.join(missing)}: give their contexts with --destination-context, "
            "or run 'clustermesh disconnect' for those that are gone"
        )
    if len(set(given)) < len(given):
        refused.append("two contexts lead to clusters of the same name")
    if refused:
        raise RefusedError(refused)
    return found


async def _write(places: Mapping[str, Place], members: Sequence[Member], step: Step, now: datetime) -> None:
    for each in rotation.writes(step, members, now):
        target, client = places[each.member]
        if each.data is None:
            await client.delete(secret.SECRET, each.secret, target.namespace)
            continue
        [body] = secret.bodies(target.namespace, {each.secret: each.data})
        await client.apply(secret.SECRET, body)


def _tell(following: Next, writes: Sequence[Write], now: datetime) -> None:
    when = "now" if following.is_ready(now) else f"not before {_time(following)}"
    click.echo(f"next: {following.step.value} ({when}): {DOES[following.step]}")
    for each in writes:
        click.echo(f"  {'delete' if each.data is None else 'write'} Secret {each.secret} in {each.member}")


def _time(following: Next) -> str:
    return following.not_before.isoformat(timespec="seconds") if following.not_before else "now"
