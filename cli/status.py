"""`clustermesh status`: ask every agent and KVStoreMesh, show the sum; exit 1 unless all is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import click
import msgspec

from aiokit.failure import first
from cli import agentreport, clock, exporterask, facts, lifetime, matrix, podask, rollout, statusview
from cli.completing import complete_context
from cli.downcontainers import down, unready
from cli.duration import duration
from cli.matrix import Row
from cli.meshstatus import PeersView, summed
from cli.podask import Answer
from cli.running import run, say
from cli.settings import (
    AGENT,
    AGENT_HEALTH_PORT,
    EXPORTER_HEALTH_PORT,
    KVSTOREMESH_HEALTH_PORT,
    PROXY_HEALTH_PORT,
    SERVICE,
)
from cli.statusview import MeshStatus
from cli.target import Target, split, with_target
from k8s import kubeconfig
from k8s.client import Client
from k8s.errors import KubernetesError
from k8s.resource import POD
from peering.clusterreport import RemoteCluster

POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Reader:
    """Pods that read peers, and where they say what they read."""

    app: str
    port: int
    path: str
    decode: Callable[[bytes], Sequence[RemoteCluster]]
    warnings: Callable[[bytes], Sequence[str]] = lambda _: ()


AGENTS = Reader(AGENT, AGENT_HEALTH_PORT, "/v1/healthz", agentreport.peers, agentreport.warnings)
EXPORTER_PORT = EXPORTER_HEALTH_PORT
PROXY, PROXY_PORT = "proxy", PROXY_HEALTH_PORT
KVSTOREMESH = Reader(SERVICE, KVSTOREMESH_HEALTH_PORT, "/v1/cluster", agentreport.mirrored)


@click.command()
@with_target
@click.option(
    "--destination-context",
    "contexts",
    multiple=True,
    shell_complete=complete_context,
    help="Context of another cluster to ask too; repeat it or separate several by commas.",
)
@click.option("--all", "everybody", is_flag=True, help="Ask every peer that has a context of its own name.")
@click.option("--wait", is_flag=True, help="Wait until everything is ready, saying what is missing.")
@click.option("--wait-duration", type=duration, default="15m", show_default=True, help="How long to wait.")
@click.option("-o", "--output", type=click.Choice(["summary", "json"]), default="summary", show_default=True)
def status(
    *,
    target: Target,
    contexts: tuple[str, ...],
    everybody: bool,
    wait: bool,
    wait_duration: float,
    output: str,
) -> None:
    """Show this cluster's peers as all its agents see them; exit 1 unless all is well.

    With several clusters: one picture of who reads whom.

    \b
    Examples:
      clustermesh status --context east
      clustermesh status --context east --wait --wait-duration 2m
      clustermesh status --context east --destination-context west,north
      clustermesh status --context east --all -o json
    """
    others = [target.other(context) for context in split(contexts)]
    rows = run(_rows(target, others, wait_duration if wait else 0.0, everybody=everybody))
    if len(rows) == 1 and rows[0].status:
        found: object = statusview.as_json(rows[0].status)
        text = statusview.as_text(rows[0].status)
    else:
        found, text = matrix.as_object(rows), matrix.as_text(rows)
    click.echo(msgspec.json.encode(found) if output == "json" else text, nl=output == "json")
    if not all(row.is_ready for row in rows):
        raise SystemExit(1)


async def _rows(target: Target, others: Sequence[Target], seconds: float, *, everybody: bool) -> list[Row]:
    """Our own cluster's view first; its failure is the command's, another cluster's is a row."""
    until = time.monotonic() + seconds
    own = await _status(target, until)
    if everybody:
        known = await asyncio.to_thread(kubeconfig.contexts, target.kubeconfig)
        named = {other.context for other in others} | {target.context}
        others = [*others, *(target.other(name) for name in own.peers if name in known and name not in named)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_row(other, until), name=f"status of {other.label}") for other in others]
    return [Row(own.facts.name or target.label, own), *(task.result() for task in tasks)]


async def _row(target: Target, until: float) -> Row:
    try:
        found = await _status(target, until)
    except KubernetesError as error:
        return Row(target.label, error=str(error))
    except ExceptionGroup as group:
        expected, others = group.split(KubernetesError)
        if expected is None or others is not None:
            raise
        return Row(target.label, error=str(first(expected)))
    return Row(found.facts.name or target.label, found)


async def _status(target: Target, until: float) -> MeshStatus:
    """Once all is ready, or as it is at `until` (of the monotonic clock); says what is missing meanwhile."""
    async with target.connect() as client:
        await clock.now(client, target.label)  # says where the clocks differ
        said = ""
        while True:
            found = await read(client, target)
            if found.is_ready or time.monotonic() >= until:
                return found
            now = statusview.progress(found)
            if now != said:
                say(f"waiting for {target.label}: {now}")
                said = now
            await asyncio.sleep(POLL_SECONDS)


async def read(client: Client, target: Target) -> MeshStatus:
    """One moment of the mesh. Raises KubernetesError when the API server does not answer."""
    async with asyncio.TaskGroup() as group:
        cluster = group.create_task(facts.read(client, target), name="read cluster")
        missing = group.create_task(rollout.control_missing(client, target), name="read deployment")
        views = group.create_task(ask(client, target.namespace, AGENTS), name="ask agents")
        copies = group.create_task(_mirror(client, cluster, target.namespace), name="ask KVStoreMesh")
        stores = group.create_task(_exporters(client, target.namespace), name="ask exporters")
        listed = client.list(POD, target.namespace, label_selector=f"k8s-app={SERVICE}")
        pods = group.create_task(listed, name="read control plane")
    found, mirror = cluster.result(), copies.result()
    waits = await _reasons(client, target.namespace, unready(pods.result())) if missing.result() else ()
    return MeshStatus(
        found,
        _waiting(missing.result(), waits),
        summed(views.result(), found.peers),
        summed(mirror, found.mirrored) if mirror is not None else None,
        lifetime.lifetimes(found.leaves, datetime.now(UTC)),
        exporterask.full_stores(stores.result()),
        down(pods.result()),
        exporterask.unwritten(stores.result()),
        exporterask.unexported(stores.result()),
    )


async def _mirror(
    client: Client, cluster: asyncio.Task[facts.ClusterFacts], namespace: str
) -> Sequence[PeersView] | None:
    """None where it does not run."""
    found = await cluster
    return await ask(client, namespace, KVSTOREMESH) if found.kvstoremesh else None


async def _exporters(client: Client, namespace: str) -> Sequence[Answer]:
    return await podask.answers(client, namespace, SERVICE, EXPORTER_PORT, exporterask.PATH)


async def _reasons(client: Client, namespace: str, names: Sequence[str]) -> Sequence[str]:
    """The containers that are not ready; the proxy says why, the others only that they are not."""
    if PROXY not in names:
        return names
    answers = await podask.answers(client, namespace, SERVICE, PROXY_PORT, "/readyz")
    said = next((why for each in answers if (why := each.error.partition("NotReady: ")[2])), "")
    return [f"{name}: {said}" if name == PROXY and said else name for name in names]


def _waiting(missing: Sequence[str], unready: Sequence[str]) -> Sequence[str]:
    """A Deployment that is not up, with the containers that it waits for."""
    names = f" (not ready: {', '.join(unready)})" if unready else ""
    return [f"{text}{names}" if f" {SERVICE}:" in text else text for text in missing]


async def ask(client: Client, namespace: str, reader: Reader) -> Sequence[PeersView]:
    """Every pod's view, in the order of the pods' names."""
    answers = await podask.answers(client, namespace, reader.app, reader.port, reader.path)
    return [_view(answer, reader) for answer in answers]


def _view(answer: Answer, reader: Reader) -> PeersView:
    if answer.error:
        return PeersView(answer.pod, answer.node, error=answer.error)
    try:
        peers, warnings = reader.decode(answer.body), reader.warnings(answer.body)
        return PeersView(answer.pod, answer.node, peers, warnings=warnings)
    except ValueError as error:
        return PeersView(answer.pod, answer.node, error=str(error))
