"""`clustermesh post-uninstall-cleanup`: remove what stopped agents left, on every node of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import click
import msgspec

from aiokit.wait import eventually
from cli import agentpod, cleaner, staleobjects
from cli.agentpod import AgentPod
from cli.dbg.column import columns
from cli.duration import duration
from cli.errors import CommandError
from cli.rollout import daemonset_missing
from cli.running import confirms_removal, run, say
from cli.settings import AGENT
from cli.target import Target, with_target
from cli.version import installed
from k8s.client import Client
from k8s.errors import KubernetesError
from k8s.resource import DAEMONSET

Said = dict[str, dict[str, Any]]  # node -> its answer, or {"error": why there is none}
_LOOK, _FORCE = "--dry-run", "--force"
_POLL_SECONDS = 0.5


@click.command("post-uninstall-cleanup")
@with_target
@click.option("-f", "--force", is_flag=True, help="Remove without asking.")
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option("--image", help="Image with our programs (default: as `enable`).")
@click.option(
    "--wait-duration",
    type=duration,
    default="2m",
    show_default=True,
    help="For agents to end, then for a pod on every node.",
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def post_uninstall_cleanup(
    *, target: Target, force: bool, dry_run: bool, image: str | None, wait_duration: float, output: str
) -> None:
    """Remove what agents left on the nodes: programs, maps, devices, routes, records; and their CiliumNodes.

    After `disable` or `helm uninstall`. Runs `clustermesh-dbg post-uninstall-cleanup` on every node, in a
    DaemonSet that goes afterwards: it takes the right to make that, and to exec in its pods. Lists first, and
    asks. Pods of the mesh have no network until they are made again. Run it again if it was cut off. Exit 1
    unless nothing is left on any node.
    """
    if output == "json" and not (force or dry_run):
        raise click.UsageError("-o json does not ask: give --force or --dry-run")

    wanted = cleaner.daemonset(target.namespace, image or f"clustermesh.io/clustermesh:{installed()}")
    removed: Said | None = None
    run(_await_ends(target, wait_duration))
    try:  # nobody waits for an answer inside a loop: Ctrl-C would have to wait for it too
        planned = run(_look(target, wanted, wait_duration))
        if output == "table":
            click.echo(_text(planned), nl=False)
        if not dry_run and (force or _is_confirmed(planned)):
            removed = run(_remove(target))
    finally:
        run(_end(target))
    found = planned if removed is None else removed
    if output == "json":
        click.echo(msgspec.json.encode(found))
    elif removed is not None:
        click.echo(_text(removed), nl=False)
    if not dry_run and not _is_clean(found):
        raise SystemExit(1)


async def _look(target: Target, wanted: dict[str, Any], seconds: float) -> Said:
    """What is on each node. On one that is down the pod does not come up."""
    missing: list[str] = []
    async with target.connect() as client:
        await client.apply(DAEMONSET, wanted)

        async def are_up() -> bool:
            missing[:] = await daemonset_missing(client, target, cleaner.NAME)
            return not missing

        is_whole = await _holds_within(are_up, seconds)
        pods = await _pods(client, target)
        if not is_whole and not any(each.pod.is_ready for each in pods):
            raise CommandError(f"{'; '.join(missing)}: see its pods")
        return await _everywhere(pods, _LOOK)


async def _remove(target: Target) -> Said:
    async with target.connect() as client:
        removed = await _everywhere(await _pods(client, target), _FORCE)
        clean = [node for node, answer in removed.items() if _is_clean({node: answer})]
        async for text in staleobjects.remove(client, clean):
            say(f"deleted {text}")
        return removed


async def _end(target: Target) -> None:
    async with target.connect() as client:
        await client.delete(DAEMONSET, cleaner.NAME, target.namespace)


async def _pods(client: Client, target: Target) -> list[AgentPod]:
    found = await agentpod.pods(client, target.namespace, cleaner.NAME)
    return [AgentPod(client, pod, cleaner.NAME) for pod in found if not pod.metadata.is_ending]


async def _await_ends(target: Target, seconds: float) -> None:
    """No agent is to begin; those that are ending get their time. On a node that is down none ends: go on, as
    each node makes sure by itself that no agent runs."""
    ending: list[str] = []
    async with target.connect() as client:
        if await client.get(DAEMONSET, AGENT, target.namespace) is not None:
            remedy = f"end them first, `clustermesh disable{target.flags}`"
            raise CommandError(f"{target.label}: agents run here (DaemonSet {AGENT}): {remedy}")

        async def are_gone() -> bool:
            ending[:] = [pod.spec.nodeName for pod in await agentpod.pods(client, target.namespace, AGENT)]
            return not ending

        if not await _holds_within(are_gone, seconds):
            say(f"warning: agents do not end on {', '.join(ending)}")


async def _holds_within(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    try:
        await eventually(condition, seconds, _POLL_SECONDS)
    except TimeoutError:
        return False
    return True


async def _everywhere(pods: Sequence[AgentPod], how: str) -> Said:
    turns = asyncio.Semaphore(agentpod.ASKED_AT_ONCE)
    async with asyncio.TaskGroup() as group:
        tasks = {pod.node: group.create_task(_ask(pod, how, turns), name=f"clean {pod.node}") for pod in pods}
    return {node: task.result() for node, task in tasks.items()}


async def _ask(pod: AgentPod, how: str, turns: asyncio.Semaphore) -> dict[str, Any]:
    if not pod.pod.is_ready:
        return {"error": "the clean-up's pod did not come up on it"}
    try:
        async with turns:
            return await pod.ask("post-uninstall-cleanup", how, "--state-dir", cleaner.STATE_DIR)
    except (CommandError, KubernetesError) as error:
        return {"error": str(error)}


def _is_clean(said: Said) -> bool:
    return all(answer.get("clean") is True for answer in said.values())


def _is_confirmed(planned: Said) -> bool:
    return _is_clean(planned) or confirms_removal()


def _text(said: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (node, "unknown", answer["error"]) if "error" in answer else (node, *_summary(answer))
        for node, answer in said.items()
    ]
    return columns(("NODE", "STATE", ""), rows)


def _summary(answer: Mapping[str, Any]) -> tuple[str, str]:
    """In a word, and what there is or was of each kind; then what stays, a line each."""
    counts: dict[str, int] = {}
    for item in answer["items"]:
        counts[item["kind"]] = counts.get(item["kind"], 0) + 1
    lines = [", ".join(f"{count} {kind}" for kind, count in counts.items())]
    lines += [
        f"still there: {item['kind']} {item['name']}: {item['reason']}"
        for item in answer["items"]
        if item["state"] == "failed"
    ]
    lines += [f"stays: {each['kind']} {each['name']}: {each['reason']}" for each in answer["kept"]]
    return "clean" if answer["clean"] else "left", "\n".join(line for line in lines if line)
