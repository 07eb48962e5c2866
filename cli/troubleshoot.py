"""`clustermesh troubleshoot`: walk the ways to a cluster's peers from where they are gone, step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
import msgspec

from cli import agentpod
from cli.agentmanifest import RUN_DIR
from cli.completing import complete_cluster
from cli.errors import CommandError
from cli.running import run, say
from cli.settings import KVSTOREMESH, SERVICE
from cli.target import Target, with_target
from k8s import objects
from k8s.client import Client
from k8s.core import Pod
from k8s.errors import KubernetesError
from k8s.resource import POD

AGENT_WORDS = ("clustermesh-dbg", "troubleshoot", "clustermesh", "--host", f"{RUN_DIR}/cilium.sock")
KVSTOREMESH_WORDS = ("clustermesh-apiserver", "kvstoremesh-dbg", "troubleshoot")


@dataclass(frozen=True, slots=True)
class _Place:
    """A container from which the peers are reached."""

    pod: Pod
    container: str
    words: Sequence[str]

    @property
    def name(self) -> str:
        return f"{self.pod.metadata.name} ({self.container}, node {self.pod.spec.nodeName})"


@click.command()
@with_target
@click.argument("clusters", nargs=-1, shell_complete=complete_cluster)
@click.option("-o", "--output", type=click.Choice(["summary", "json"]), default="summary", show_default=True)
def troubleshoot(*, target: Target, clusters: tuple[str, ...], output: str) -> None:
    """Walk the way to the peers, or to CLUSTERS, from every KVStoreMesh and agent: name, TCP, TLS,
    certificates, authorisation, etcd. Exits 1 when one is broken.

    Runs commands in the pods: that takes the right to exec there.
    """
    found = run(_troubleshoot(target, clusters, output))
    if output == "json":
        click.echo(msgspec.json.encode(found))
    if not all(each["well"] for each in found):
        raise SystemExit(1)


async def _troubleshoot(target: Target, clusters: Sequence[str], output: str) -> list[dict[str, Any]]:
    async with target.connect() as client:
        places = [*await _mirrors(client, target.namespace), *await _agents(client, target.namespace)]
        if not places:
            raise CommandError(f"the mesh does not run in {target.label}: `clustermesh enable{target.flags}`")
        turns = asyncio.Semaphore(agentpod.ASKED_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_walk(client, place, clusters, output, turns), name=place.name)
                for place in places
            ]
    return [task.result() for task in tasks]


async def _walk(
    client: Client, place: _Place, clusters: Sequence[str], output: str, turns: asyncio.Semaphore
) -> dict[str, Any]:
    metadata = place.pod.metadata
    answer: dict[str, Any] = {"pod": metadata.name, "container": place.container, "well": False}
    words = [*place.words, *clusters, *(["-o", "json"] if output == "json" else [])]
    try:
        async with turns:
            done = await client.execute(metadata.name, metadata.namespace, words, place.container)
    except KubernetesError as error:
        say(f"{place.name}: {error}")
        return {**answer, "error": str(error)}
    answer["well"] = done.code == 0
    text = done.stdout.decode(errors="replace")
    if output != "json":
        click.echo(f"{place.name}:\n{text}{done.stderr.decode(errors='replace')}")
        return answer
    try:
        return {**answer, "peers": msgspec.json.decode(done.stdout)}
    except ValueError:
        return {**answer, "error": done.stderr.decode(errors="replace").strip() or text}


async def _mirrors(client: Client, namespace: str) -> list[_Place]:
    raw = await client.list(POD, namespace, label_selector=f"k8s-app={SERVICE}")
    pods = [objects.decode(each, Pod) for each in raw]
    return [
        _Place(pod, KVSTOREMESH, KVSTOREMESH_WORDS)
        for pod in sorted(pods, key=lambda pod: pod.metadata.name)
        if not pod.metadata.is_ending
        and any(container.name == KVSTOREMESH for container in pod.spec.containers)
    ]


async def _agents(client: Client, namespace: str) -> list[_Place]:
    found = await agentpod.agents(client, namespace)
    return [_Place(each.pod, agentpod.CONTAINER, AGENT_WORDS) for each in found]
