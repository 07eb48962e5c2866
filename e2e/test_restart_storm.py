"""Agents killed at random while everything changes: in the end every kernel map is what is wanted of it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokit.wait import eventually
from e2e.churn import SERVICE
from e2e.conftest import CLUSTERS, Mesh
from e2e.faults import AGENT, curls_counted, in_namespace, pids_of
from lab.demo.objects import service
from lab.plan import NodePlan

KILLS = 5  # of each of the four agents
LIVES = ((0.0, 1.0), (2.2, 3.0))  # seconds: killed while it starts, and perhaps after, in turn
STORM_SECONDS = 40.0
EQUAL_SECONDS = 30.0
MIN_RATE = 200  # changes a second that the storm must have had, of 300 wanted
UNUSED = (2 << 16) + 60_000  # identities of west that nobody has


async def test_after_a_storm_of_killed_agents_every_kernel_map_is_what_is_wanted(mesh: Mesh) -> None:
    nodes = [node for name in CLUSTERS for node in mesh.plan.cluster(name).nodes[1:]]
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    await mesh.lab.apply("east", service(SERVICE), _allowing())
    try:
        async with (
            curls_counted(mesh.lab, "east", mesh.clients["east"], mesh.url) as answers,
            _changing(mesh) as changing,
        ):
            async with asyncio.timeout(STORM_SECONDS), asyncio.TaskGroup() as group:
                for node in nodes:
                    group.create_task(_storm(node, chance), name=f"storm {node.name}")
            before = [await _equal(mesh, node, seed) for node in nodes]
            rate = await _ended(changing)
        after = [await _equal(mesh, node, seed) for node in nodes]
    finally:
        await mesh.lab.delete("east", "CiliumNetworkPolicy", SERVICE)
        await mesh.lab.delete("east", "Service", SERVICE)
    assert rate >= MIN_RATE
    assert [answer for answer in answers if not answer.served_by] == []
    assert _entries(before[0], "cilium_ipcache_v2") > _entries(after[0], "cilium_ipcache_v2")


async def _storm(node: NodePlan, chance: random.Random) -> None:
    killed, first, kills = 0, chance.randrange(2), 0
    while kills < KILLS:
        found = await _other_agent(node, killed)
        await asyncio.sleep(chance.uniform(*LIVES[(first + kills) % 2]))
        try:
            os.kill(found, signal.SIGKILL)
        except ProcessLookupError:  # a child of the agent's, between its fork and its own program
            continue
        killed, kills = found, kills + 1


async def _other_agent(node: NodePlan, killed: int) -> int:
    found: list[int] = []

    def is_there() -> bool:
        running = in_namespace(pids_of(*AGENT), node.namespace)
        found[:] = [pid for pid in running if pid != killed and _parent(pid) not in running]
        return bool(found)

    await eventually(is_there, STORM_SECONDS, 0.1)
    return found[0]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


async def _equal(mesh: Mesh, node: NodePlan, seed: int) -> dict[str, Any]:
    """What `clustermesh-dbg verify` on the node says, once it says equal."""
    said: list[str] = []
    found: dict[str, Any] = {}
    socket = mesh.lab.paths.node(node).agent_socket

    async def is_equal() -> bool:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.dbg", "--host", str(socket), "verify", "-o", "json"),
            stdout=PIPE,
            stderr=PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), EQUAL_SECONDS)
        said.append(out.decode() or err.decode())
        if process.returncode == 0:
            found.update(json.loads(out))
        return process.returncode == 0

    try:
        await eventually(is_equal, EQUAL_SECONDS, 0.2)
    except TimeoutError:
        raise AssertionError(f"{node.namespace} with seed {seed}: {said[-1]}") from None
    return found


def _entries(said: dict[str, Any], name: str) -> int:
    return next(int(each["entries"]) for each in said["maps"] if each["name"] == name)


@asynccontextmanager
async def _changing(mesh: Mesh) -> AsyncGenerator[Process]:
    """West's etcd changes 300 times a second."""
    west = mesh.plan.cluster("west")
    writer = west.nodes[1]
    process = await asyncio.create_subprocess_exec(
        *("nsenter", f"--net=/run/netns/{west.control.namespace}", sys.executable, "-m", "e2e.churn"),
        *("--endpoint", "http://127.0.0.1:2378", "--cluster", "west", "--cluster-id", str(writer.cluster_id)),
        *("--identity", str(UNUSED), "--host-ip", str(writer.ip)),
        *("--network", str(writer.pod_cidr.network_address).rpartition(".")[0]),
        stdin=PIPE,
        stdout=PIPE,
    )
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"begun\n"
        yield process
    finally:
        if process.returncode is None:
            await _ended(process)


async def _ended(process: Process) -> int:
    """Let it remove what it wrote and end; how many changes a second it made."""
    out, _ = await asyncio.wait_for(process.communicate(b""), 20)
    return int(out or 0)


def _allowing() -> dict[str, Any]:
    """East's clients, whom nobody asks, may be asked by the identities that come and go."""
    peers = {"app": SERVICE, "io.cilium.k8s.policy.cluster": "west"}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": SERVICE, "namespace": "default"},
        "spec": {
            "endpointSelector": {"matchLabels": {"app": "client"}},
            "ingress": [{"fromEndpoints": [{"matchLabels": peers}]}],
        },
    }
