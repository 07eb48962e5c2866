"""`clustermesh service`: which clusters serve a service from here, and why not that one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import click
import msgspec

from cli import podask, serviceview
from cli import status as meshstatus
from cli.completing import complete_context, complete_service
from cli.errors import CommandError
from cli.podask import Answer
from cli.running import run, say
from cli.servicethere import there
from cli.serviceverdict import MeshService, Peer, There, nodes_using, verdicts, worst
from cli.serviceview import Judged
from cli.settings import AGENT, AGENT_HEALTH_PORT
from cli.statusview import MeshStatus
from cli.target import Target, split, with_target
from k8s import kubeconfig
from k8s.client import Client
from k8s.errors import KubernetesError

PATH = "/v1/global-service"

with_output = click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True
)


@dataclass(frozen=True, slots=True)
class View:
    """What this cluster's agents say: all services of each, with the state of the mesh."""

    mesh: MeshStatus
    by_agent: Sequence[Sequence[MeshService]]


@click.command("list")
@click.argument("within", metavar="[NAMESPACE]", required=False)
@with_target
@with_output
def list_services(*, target: Target, within: str | None, output: str) -> None:
    """List global services, which clusters serve each of them from here, and what is in the way.

    \b
    Examples:
      clustermesh service list --context east
      clustermesh service list shop --context east -o json
    """
    found = run(_list(target, within or ""))
    if output == "json":
        click.echo(msgspec.json.encode([serviceview.as_object(each) for each in found]))
    else:
        click.echo(serviceview.as_list(found), nl=False)


@click.command("status")
@click.argument("name", shell_complete=complete_service)
@with_target
@click.option(
    "--destination-context",
    "contexts",
    multiple=True,
    shell_complete=complete_context,
    help="Context of a peer to ask too; repeat it or separate several by commas.",
)
@click.option(
    "--ask-peers/--no-ask-peers",
    default=True,
    show_default=True,
    help="Ask the API servers of peers that have a context of their own name why they do not serve.",
)
@with_output
def service_status(
    *, target: Target, name: str, contexts: tuple[str, ...], ask_peers: bool, output: str
) -> None:
    """Say for each cluster whether it serves NAME (or NAMESPACE/NAME) from here, and why not.

    Exits 1 when nobody does.

    \b
    Examples:
      clustermesh service status web --context east
      clustermesh service status shop/web --context east --destination-context west -o json
    """
    if name.count("/") > 1 or not all(name.split("/")):
        raise click.UsageError(f"{name!r} is neither NAME nor NAMESPACE/NAME")
    found = run(_status(target, name, split(contexts), ask_peers=ask_peers))
    if output == "json":
        click.echo(msgspec.json.encode(serviceview.as_object(found)))
    else:
        click.echo(serviceview.as_text(found), nl=False)
    if not found.is_served:
        raise SystemExit(1)


async def _list(target: Target, namespace: str) -> list[Judged]:
    async with target.connect() as client:
        view = await _view(client, target, "")
    peers = _peers(view.mesh, {})
    own, flags = view.mesh.facts.name, target.flags
    return [
        Judged(service, verdicts(service, peers, own, flags), nodes_using([service]), 1)
        for service in view.by_agent[0]
        if namespace in ("", service.namespace)
    ]


async def _status(target: Target, name: str, contexts: Sequence[str], *, ask_peers: bool) -> Judged:
    async with target.connect() as client:
        key = name if "/" in name else f"{client.namespace}/{name}"
        view = await _view(client, target, key)
    namespace, _, short = key.partition("/")
    absent = MeshService(namespace, short)
    told = [next(iter(services), absent) for services in view.by_agent]
    service, mesh = worst(told), view.mesh
    silent = {peer for peer in mesh.peers if peer not in {share.name for share in service.clusters}}
    others = await _others(target, contexts, silent if ask_peers else set(), key)
    found = verdicts(service, _peers(mesh, others), mesh.facts.name, target.flags)
    return Judged(service, found, nodes_using(told), len(told))


async def _view(client: Client, target: Target, name: str) -> View:
    path = f"{PATH}?name={quote(name)}" if name else PATH
    async with asyncio.TaskGroup() as group:
        mesh = group.create_task(meshstatus.read(client, target), name="read mesh")
        asked = group.create_task(
            podask.answers(client, target.namespace, AGENT, AGENT_HEALTH_PORT, path), name="ask agents"
        )
    answered = [answer for answer in asked.result() if not answer.error]
    if not answered:
        why = next((answer.error for answer in asked.result()), "there is none")
        raise CommandError(
            f"no agent of {target.label} answers ({why}): see 'clustermesh status{target.flags}'"
        )
    return View(mesh.result(), [_decoded(answer) for answer in answered])


def _decoded(answer: Answer) -> list[MeshService]:
    try:
        return msgspec.json.decode(answer.body, type=list[MeshService])
    except ValueError as error:
        raise CommandError(f"the answer of {answer.pod} to {PATH} is not understood: {error}") from error


def _peers(mesh: MeshStatus, others: dict[str, There]) -> list[Peer]:
    causes = mesh.causes
    return [
        Peer(
            name,
            [cause for cause in causes if cause.peer == name],
            sum(peer.refused.values()),
            others.get(name),
        )
        for name, peer in sorted(mesh.peers.items())
    ]


async def _others(target: Target, contexts: Sequence[str], peers: set[str], key: str) -> dict[str, There]:
    """Cluster -> the service as its API server has it; who does not answer is left out, and said."""
    known = set(await asyncio.to_thread(kubeconfig.contexts, target.kubeconfig)) if peers else set()
    wanted = [*contexts, *sorted(name for name in peers & known if name not in contexts)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_other(target.other(name), key), name=f"ask {name}") for name in wanted]
    return dict(found for task in tasks if (found := task.result()))


async def _other(target: Target, key: str) -> tuple[str, There] | None:
    try:
        async with asyncio.timeout(podask.ASK_SECONDS), target.connect() as client:
            return await there(client, target, key)
    except (KubernetesError, TimeoutError) as error:
        say(f"{target.label} could not be asked: {error or 'no answer in time'}")
        return None
