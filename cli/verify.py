"""`clustermesh verify`: on every node, is the kernel as its agent wants it?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from cli import agentpod, verifytext
from cli.agentpod import AgentPod
from cli.dbg.column import columns
from cli.errors import CommandError
from cli.running import run
from cli.target import Target, with_target
from k8s.errors import KubernetesError

HEAD = ("NODE", "KERNEL", "ENTRIES", "MISSING", "EXTRA", "DIFFERENT")


@click.command()
@with_target
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def verify(*, target: Target, output: str) -> None:
    """Compare every node's kernel maps with what its agent wants; exit 1 unless all are equal.

    Runs `clustermesh-dbg verify` in the agents' pods: that takes the right to exec there.
    """
    found = run(_verify(target))
    if output == "json":
        click.echo(msgspec.json.encode(found))
    else:
        click.echo(_text(found), nl=False)
    if not found or not all(said.get("equal") for said in found.values()):
        raise SystemExit(1)


async def _verify(target: Target) -> dict[str, dict[str, Any]]:
    """Node -> its agent's answer, or {"error": why there is none}."""
    async with target.connect() as client:
        pods = await agentpod.agents(client, target.namespace)
        if not pods:
            raise CommandError(f"no agent runs in {target.label}: `clustermesh enable{target.flags}`")
        turns = asyncio.Semaphore(agentpod.ASKED_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            tasks = {pod.node: group.create_task(_ask(pod, turns), name=f"verify {pod.node}") for pod in pods}
        return {node: task.result() for node, task in tasks.items()}


async def _ask(pod: AgentPod, turns: asyncio.Semaphore) -> dict[str, Any]:
    try:
        async with turns:
            return await pod.ask("verify")
    except (CommandError, KubernetesError) as error:
        return {"error": str(error)}


def _text(found: Mapping[str, Mapping[str, Any]]) -> str:
    rows: list[Sequence[str]] = []
    lines: list[str] = []
    for node, said in found.items():
        if "error" in said:
            rows.append((node, "unknown", "", "", "", ""))
            lines.append(str(said["error"]))
            continue
        rows.append((node, *verifytext.summary(said)))
        lines += [f"{node}: {line}" for line in verifytext.differences(said)]
    return columns(HEAD, rows) + "".join(f"{line}\n" for line in lines)
