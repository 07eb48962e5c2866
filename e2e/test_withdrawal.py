"""A data plane that is cut: what does not answer is not used, and comes back when it answers again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import msgspec

from aiokit.wait import eventually
from e2e.conftest import Mesh
from lab.demo.driver import CURL_SECONDS, Answer
from lab.demo.steps import until_answered_by
from lab.plan import LabPlan, NodePlan

NOWHERE = "02:00:00:00:00:ff"  # a hardware address that nobody on the fabric has
WITHDRAWN_SECONDS = 5.0
RETURN_SECONDS = 5.0
QUIET = 100  # answers without a failure: with half of the backends lost, no luck reaches so far
Arrival = tuple[float, Answer]


@asynccontextmanager
async def data_plane_cut(plan: LabPlan, one: str, other: str) -> AsyncGenerator[float]:
    """No packet between the worker nodes of two clusters, and no word of it; control planes still talk.

    Gives the monotonic time of the cut.
    """
    here, there = (workers(plan, name) for name in (one, other))
    pairs = [(a, b) for a in here for b in there] + [(b, a) for a in here for b in there]
    try:
        for node, to in pairs:
            _neigh(node, "replace", to, "lladdr", NOWHERE, "nud", "permanent")
        yield time.monotonic()
    finally:
        for node, to in pairs:
            _neigh(node, "del", to)


def workers(plan: LabPlan, cluster: str) -> list[NodePlan]:
    found = plan.cluster(cluster)
    return [node for node in found.nodes if node.namespace != found.control.namespace]


def _neigh(node: NodePlan, action: str, to: NodePlan, *more: str) -> None:
    command = ["ip", "-n", node.namespace, "neigh", action, str(to.ip), *more, "dev", "eth0"]
    subprocess.run(command, check=True, timeout=10)


@asynccontextmanager
async def curls_timed(mesh: Mesh) -> AsyncGenerator[list[Arrival]]:
    """Curl from east all through the block; the answers so far and when they came."""
    seen: list[Arrival] = []
    async with mesh.lab.curling("east", mesh.clients["east"], mesh.url) as answers:

        async def collect() -> None:
            async for answer in answers:
                seen.append((time.monotonic(), answer))  # noqa: PERF401 - read while it grows

        async with asyncio.TaskGroup() as group:
            task = group.create_task(collect(), name="curls")
            await eventually(lambda: len(seen) > 5)
            yield seen
            task.cancel()


def is_quiet(seen: list[Arrival]) -> bool:
    return len(seen) >= QUIET and all(answer.served_by for _, answer in seen[-QUIET:])


async def _has_heard_west(mesh: Mesh, node: NodePlan) -> bool:
    """Whether the agent has had answers of west: the silence of nodes that never answered says nothing."""
    socket = mesh.lab.paths.node(node).agent_socket
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.dbg", "--host", str(socket), "status", "-o", "json"),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 30)
    clusters = msgspec.json.decode(said or b"{}").get("cluster-mesh", {}).get("clusters", [])
    return any((each["name"], each["data-plane"]) == ("west", "ok") for each in clusters)


async def test_backends_behind_silent_nodes_are_withdrawn_and_return(mesh: Mesh) -> None:
    await until_answered_by(mesh.lab, mesh.clients["east"], mesh.url, {"east", "west"})
    for node in workers(mesh.plan, "east"):
        await eventually(partial(_has_heard_west, mesh, node), 30, 0.1)
    async with curls_timed(mesh) as seen:
        async with data_plane_cut(mesh.plan, "east", "west") as cut:
            first = len(seen)
            await eventually(lambda: is_quiet(seen[first:]), 30)
            failures = [at - CURL_SECONDS - cut for at, answer in seen[first:] if not answer.served_by]
            assert failures  # else nothing was cut
            assert max(failures) <= WITHDRAWN_SECONDS
        healed = time.monotonic()
        first = len(seen)
        await eventually(lambda: any(answer.cluster == "west" for _, answer in seen[first:]), 30)
        back = min(at for at, answer in seen[first:] if answer.cluster == "west") - healed
        assert back <= RETURN_SECONDS
        assert all(answer.served_by for _, answer in seen[first:])
    print(f"last failing connection {max(failures):.2f} s after the cut, back after {back:.2f} s")  # noqa: T201
