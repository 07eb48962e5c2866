"""Breaking a lab on purpose, and watching from a pod whether anybody notices."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from aiokit.wait import eventually
from lab.demo.driver import Answer, Driver
from lab.plan import LabPlan, NodePlan

AGENT = ("-m agent ", "--socket-path")
ETCD = ("etcd", "--listen-client-urls=http://127.0.0.1:2378")
EXPORTER = ("-m clustermesh_apiserver clustermesh",)
PROXY = ("-m clustermesh_apiserver proxy",)
KVSTOREMESH = ("-m clustermesh_apiserver kvstoremesh",)
NOWHERE = "02:00:00:00:00:ff"  # a hardware address that nobody on the fabric has


def pids_of(*words: str) -> list[int]:
    """Processes whose command line has every one of `words`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if all(word in line for word in words):
                found.append(int(entry.name))
    return found


def in_namespace(pids: Iterable[int], namespace: str) -> list[int]:
    """Those of `pids` whose network namespace has this name; one that has just ended is in none."""
    inode = Path(f"/run/netns/{namespace}").stat().st_ino
    return [pid for pid in pids if _network(pid) == inode]


def _network(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return None


async def kill(node: NodePlan, *words: str) -> None:
    """SIGKILL the one process on `node` whose command line has `words`; wait until another one runs."""
    (old,) = in_namespace(pids_of(*words), node.namespace)
    os.kill(old, signal.SIGKILL)

    def is_new() -> bool:
        return bool(set(in_namespace(pids_of(*words), node.namespace)) - {old})

    await eventually(is_new, 60)


@asynccontextmanager
async def cut(plan: LabPlan, one: str, *others: str) -> AsyncGenerator[None]:
    """No packet between the control planes of `one` and the others while the block runs, and no word of it.

    Frames go to a hardware address that nobody has: as silent as a broken line between two sites.
    """
    here = plan.cluster(one).control
    pairs = [pair for name in others for pair in _both_ways(here, plan.cluster(name).control)]
    try:
        for node, to in pairs:
            _neigh(node, "replace", str(to.ip), "lladdr", NOWHERE, "nud", "permanent")
        yield
    finally:
        for node, to in pairs:
            _neigh(node, "del", str(to.ip))


def _both_ways(one: NodePlan, other: NodePlan) -> tuple[tuple[NodePlan, NodePlan], tuple[NodePlan, NodePlan]]:
    return (one, other), (other, one)


def _neigh(node: NodePlan, action: str, address: str, *more: str) -> None:
    command = ["ip", "-n", node.namespace, "neigh", action, address, *more, "dev", "eth0"]
    subprocess.run(command, check=True, timeout=10)


@asynccontextmanager
async def curls_counted(
    lab: Driver, cluster: str, pod: str, url: str, *, interval: float = 0.02
) -> AsyncGenerator[list[Answer]]:
    """Curl from `pod` all through the block; the answers so far."""
    seen: list[Answer] = []
    async with lab.curling(cluster, pod, url, interval=interval) as answers:

        async def collect() -> None:
            async for answer in answers:
                seen.append(answer)  # noqa: PERF401 - read while it grows

        async with asyncio.TaskGroup() as group:
            task = group.create_task(collect(), name="curls")
            await eventually(lambda: len(seen) > 5)
            yield seen
            count = len(seen)
            await eventually(lambda: len(seen) > count + 20)
            task.cancel()
