"""The clusters of one command: asked, judged before the first change, and told of each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certs import bundle
from certs.bundle import TrustBundle
from cli import facts, peerfile, secret, users
from cli.check import Check
from cli.errors import RefusedError
from cli.facts import ClusterFacts
from cli.preflight import findings
from cli.running import say
from cli.survey import is_remote, surveyed
from cli.target import Target
from k8s.client import Client

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Member:
    """One cluster of a command: how to talk to it and what it said."""

    client: Client
    facts: ClusterFacts


@dataclass(frozen=True, slots=True)
class Judging:
    """What an operator wants passed over. `dial` None: where dialling says anything."""

    allow_mismatching_ca: bool = False
    skip: Collection[Check] = ()
    dial: bool | None = None


@asynccontextmanager
async def members(target: Target, contexts: Sequence[str]) -> AsyncGenerator[dict[str, Member]]:
    """Clients and facts of the local cluster (key "") and of the others, by context."""
    async with AsyncExitStack() as stack:
        found: dict[str, Member] = {}
        for key, of in [("", target), *((context, target.other(context)) for context in contexts)]:
            client = await stack.enter_async_context(of.connect())
            found[key] = Member(client, await facts.read(client, of))
        yield found


def judge(ours: ClusterFacts, others: Sequence[ClusterFacts], judging: Judging) -> None:
    """Raises RefusedError; says what only may be wrong."""
    found = findings(ours, others, allow_mismatching_ca=judging.allow_mismatching_ca, skip=judging.skip)
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


def telling(reader: ClusterFacts, peer: ClusterFacts) -> list[Body]:
    """The Secrets that let `reader` know how to reach `peer`. Pure."""
    namespace = reader.target.namespace
    text = peerfile.remote(peer.name, peer.addresses)
    files = peerfile.secrets({peer.name: text}, namespace, mirrored=reader.kvstoremesh)
    return [secret.files(namespace, *each) for each in files.items()]


def trusting(member: ClusterFacts, authorities: Iterable[TrustBundle | None]) -> list[Body]:
    """The Secrets of the cluster's leaves, which accept these authorities too. Pure."""
    everybody = bundle.merge(each for each in authorities if each)
    return secret.bodies(member.target.namespace, secret.with_trust(member.leaves, everybody))


async def tell(reader: Member, peer: ClusterFacts) -> None:
    applied = [await reader.client.apply(secret.SECRET, body) for body in telling(reader.facts, peer)]
    where = ", ".join(str(address) for address in peer.addresses)
    known = "already knows" if set(applied) == {"unchanged"} else "now knows"
    say(f"{reader.facts.name} {known} {peer.name} at {where}")


async def let_in(host: Member, *clusters: str) -> None:
    """Where the cluster keeps a list of who may read it, these are on it."""
    await users.let_in(host.client, host.facts.target.namespace, host.facts.name, *clusters)


async def letting_in(host: Member, clusters: Iterable[str]) -> Body | None:
    """The list that `let_in` would write; None where it would write none."""
    namespace = host.facts.target.namespace
    wanted = users.extended(await users.read(host.client, namespace), clusters)
    return None if wanted is None else users.body(namespace, wanted)


async def share_trust(clusters: Sequence[Member], authorities: Iterable[TrustBundle | None]) -> None:
    told = list(authorities)
    for member in clusters:
        for body in trusting(member.facts, told):
            await member.client.apply(secret.SECRET, body)
