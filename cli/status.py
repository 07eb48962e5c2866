"""`clustermesh status`: ask every agent and KVStoreMesh, show the sum; exit 1 unless all is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click
import msgspec

from cli import agentreport, facts, rollout, statusview
from cli.duration import duration
from cli.meshstatus import PeersView, summed
from cli.running import run, say
from cli.settings import AGENT, AGENT_HEALTH_PORT, KVSTOREMESH_HEALTH_PORT, SERVICE
from cli.statusview import MeshStatus
from cli.target import Target, with_target
from k8s import objects
from k8s.client import Client
from k8s.errors import KubernetesError
from k8s.objects import Pod
from k8s.resource import POD
from peering.clusterreport import RemoteCluster

ASK_SECONDS = 5.0  # who takes longer to say how it is, is not well
ASKED_AT_ONCE = 32  # pods; each costs the API server a proxied connection
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Reader:
    """Pods that read peers, and where they say what they read."""

    app: str
    port: int
    path: str
    decode: Callable[[bytes], Sequence[RemoteCluster]]


AGENTS = Reader(AGENT, AGENT_HEALTH_PORT, "/v1/healthz", agentreport.peers)
KVSTOREMESH = Reader(SERVICE, KVSTOREMESH_HEALTH_PORT, "/v1/cluster", agentreport.mirrored)


@click.command()
@with_target
@click.option("--wait", is_flag=True, help="Wait until everything is ready.")
@click.option("--wait-duration", type=duration, default="15m", show_default=True, help="How long to wait.")
@click.option("-o", "--output", type=click.Choice(["summary", "json"]), default="summary", show_default=True)
def status(*, target: Target, wait: bool, wait_duration: float, output: str) -> None:
    """Show this cluster's peers as all its agents see them."""
    found = run(_status(target, wait_duration if wait else 0.0))
    if output == "json":
        click.echo(msgspec.json.encode(statusview.as_json(found)))
    else:
        click.echo(statusview.as_text(found), nl=False)
    if not found.is_ready:
        raise SystemExit(1)


async def _status(target: Target, wait_seconds: float) -> MeshStatus:
    async with target.connect() as client:
        begun = time.monotonic()
        found = await read(client, target)
        if wait_seconds and not found.is_ready:
            say("waiting until everything is ready")
        while not found.is_ready and time.monotonic() - begun < wait_seconds:
            await asyncio.sleep(POLL_SECONDS)
            found = await read(client, target)
        return found


async def read(client: Client, target: Target) -> MeshStatus:
    """One moment of the mesh. Raises KubernetesError when the API server does not answer."""
    async with asyncio.TaskGroup() as group:
        cluster = group.create_task(facts.read(client, target), name="read cluster")
        missing = group.create_task(rollout.deployment_missing(client, target), name="read deployment")
        views = group.create_task(ask(client, target.namespace, AGENTS), name="ask agents")
    found = cluster.result()
    mirror = None
    if found.kvstoremesh:
        mirror = summed(await ask(client, target.namespace, KVSTOREMESH), found.mirrored)
    return MeshStatus(found, missing.result(), summed(views.result(), found.peers), mirror)


async def ask(client: Client, namespace: str, reader: Reader) -> Sequence[PeersView]:
    """Every pod's view, in the order of the pods' names."""
    raw = await client.list(POD, namespace, label_selector=f"k8s-app={reader.app}")
    pods = sorted((objects.decode(each, Pod) for each in raw), key=lambda pod: pod.metadata.name)
    turns = asyncio.Semaphore(ASKED_AT_ONCE)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_ask(client, pod, reader, turns), name=f"ask {pod.metadata.name}")
            for pod in pods
            if not pod.metadata.deletionTimestamp
        ]
    return [task.result() for task in tasks]


async def _ask(client: Client, pod: Pod, reader: Reader, turns: asyncio.Semaphore) -> PeersView:
    name, node = pod.metadata.name, pod.spec.nodeName
    try:
        async with turns, asyncio.timeout(ASK_SECONDS):
            body = await client.proxy_get(name, pod.metadata.namespace, reader.port, reader.path)
        return PeersView(name, node, reader.decode(body))
    except TimeoutError:
        return PeersView(name, node, error=f"no answer within {ASK_SECONDS:g} s")
    except (KubernetesError, ValueError) as error:
        return PeersView(name, node, error=str(error))
