"""`clustermesh trace SRC DST:PORT`: the way of one new connection, as all nodes on it see it.

Asks the agent on the pod's node, by running `clustermesh-dbg trace` in its pod, and then the agents on the
backends' nodes what they would say to that identity. Changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import click
import msgspec

from cli import agentpod, tracetext
from cli.agentpod import AgentPod
from cli.errors import CommandError
from cli.running import run, say
from cli.sourcepod import choose
from cli.target import Target, split, with_target
from cli.tracedestination import Destination, with_destination
from k8s import objects
from k8s.client import Client
from k8s.core import Pod
from k8s.errors import KubernetesError
from k8s.resource import POD


@click.command()
@click.argument("source", metavar="SRC")
@with_destination
@with_target
@click.option(
    "--destination-context",
    "contexts",
    multiple=True,
    help="Contexts of the backends' clusters: their nodes are asked what they let in.",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def trace(
    *, source: str, destination: Destination, target: Target, contexts: tuple[str, ...], output: str
) -> None:
    """Tell the way of a new connection from pod SRC to DST:PORT, without opening one.

    SRC is namespace/pod, or a Deployment's name instead of its pod's. DST is a service (name,
    namespace/name, name.namespace.svc), a pod of the same cluster (namespace/name) or an address. Exit
    status 0: every way is allowed, and the kernels say the same; 1: else.
    """
    found = run(_trace(target, source, destination, split(contexts)))
    try:
        text, is_well = tracetext.as_text(found), tracetext.is_well(found)
    except (KeyError, TypeError) as error:
        raise click.ClickException(f"the agent's answer is not understood: {error!r}") from error
    click.echo(msgspec.json.encode(found) if output == "json" else text, nl=output == "json")
    if not is_well:
        raise SystemExit(1)


async def _trace(
    target: Target, source: str, destination: Destination, contexts: Sequence[str]
) -> dict[str, Any]:
    async with AsyncExitStack() as opened:
        client = await opened.enter_async_context(target.connect())
        found, known = await _from_source(client, target.namespace, source, destination)
        for context in contexts:
            other = await opened.enter_async_context(target.other(context).connect())
            known |= await _agents(other, target.namespace)
        turns = asyncio.Semaphore(agentpod.ASKED_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for path in found["paths"]:
                agent = known.get(path["delivery"].get("node", ""))
                if agent is not None:
                    asking = _arrival(agent, found, path, turns)
                    group.create_task(asking, name=f"arrival at {path['address']}")
        return {**found, "verdict": tracetext.verdict(found["paths"])}


async def _from_source(
    client: Client, namespace: str, source: str, destination: Destination
) -> tuple[dict[str, Any], dict[str, AgentPod]]:
    """The first agent's answer, and all agents of its cluster by their nodes' addresses."""
    space, slash, name = source.rpartition("/")
    space = space if slash else client.namespace
    pod = await _pod(client, space, name)
    name, node = pod.metadata.name, pod.spec.nodeName
    known = await _agents(client, namespace)
    agent = next((each for each in known.values() if each.node == node), None)
    if agent is None:
        raise CommandError(f"no agent runs on node {node or '(none)'}, where {space}/{name} is")
    return await agent.ask(*_words(f"{space}/{name}", destination)), known


async def _pod(client: Client, space: str, name: str) -> Pod:
    raw = await client.get(POD, name, space)
    listed = [raw] if raw is not None else await client.list(POD, space)
    pod = choose([objects.decode(each, Pod) for each in listed], name)
    if pod is None:
        raise CommandError(f"there is no pod {space}/{name}, and none of a Deployment of that name")
    if pod.metadata.name != name:
        say(f"asking for pod {space}/{pod.metadata.name}")
    return pod


async def _agents(client: Client, namespace: str) -> dict[str, AgentPod]:
    """By their nodes' addresses."""
    pods = await agentpod.agents(client, namespace)
    return {agent.pod.status.hostIP: agent for agent in pods if agent.pod.status.hostIP}


def _words(source: str, destination: Destination) -> tuple[str, ...]:
    return "trace", source, destination.text, "--protocol", destination.protocol.lower()


async def _arrival(
    agent: AgentPod, found: Mapping[str, Any], path: dict[str, Any], turns: asyncio.Semaphore
) -> None:
    """Put what the backend's own node says in place of what the source's could only guess."""
    protocol = tracetext.PROTOCOLS.get(path["protocol"], "TCP").lower()
    there = Destination(path["address"], path["port"], protocol)
    try:
        async with turns:
            told = await agent.ask(*_words(f"identity:{found['source']['identity']}", there))
        path["ingress"] = {**told["paths"][0]["ingress"], "decided-by": f"node {agent.node}"}
    except (CommandError, KubernetesError, LookupError) as error:
        say(f"{path['address']}: its node was not asked: {error}")
        return
    found["differences"].extend(f"on node {agent.node}: {text}" for text in told["differences"])
