"""`bench memory`: what a remote endpoint costs the agent, and that changes do not make it more.

The agent's resident memory with a cluster, less that with the same cluster without its endpoints, divided by
the endpoints. The floor is what etcd sent of each: its key and its value. The kernel's maps are not in it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from bench.bpffs import mounted
from bench.cluster import Cluster, shape_of
from bench.figure import Figure, figure
from bench.generate import Churn
from bench.member import TRIM_SECONDS
from bench.memberclient import Sizes, running_member
from bench.scene import running_scene
from bpf import loader
from mesh.keys import Kind

CHURN = 325.0  # changes a second
SAMPLE = 1000


async def measure(folder: Path, *, entries: list[int], seconds: float, runs: int) -> list[Figure]:
    figures: list[Figure] = []
    with mounted(folder / "bpf") as root:
        for number in entries:
            place = folder / f"memory-{number}"
            place.mkdir()
            cluster = Cluster("west", 2, shape_of(number))
            found = [await _run(place / str(run), root, cluster, seconds) for run in range(runs)]
            figures += _figures(cluster, found)
    return figures


async def _run(folder: Path, root: Path, cluster: Cluster, seconds: float) -> tuple[Sizes, Sizes, Sizes]:
    """With the same cluster but for its endpoints, with all of it, and after changes."""
    folder.mkdir()
    bare = Cluster(cluster.name, cluster.id, replace(cluster.shape, endpoints=1))
    first, _ = await _followed(folder / "bare", root, bare, 0.0)
    return first, *await _followed(folder / "whole", root, cluster, seconds)


async def _followed(folder: Path, root: Path, cluster: Cluster, seconds: float) -> tuple[Sizes, Sizes]:
    """Once the agent has it all and has given back what that took; and after so many seconds of changes."""
    folder.mkdir()
    async with running_scene(folder, cluster) as scene:
        async with running_member(root / "agent", scene.peers, folder / "agent.log") as member:
            await member.follow()
            await asyncio.sleep(2 * TRIM_SECONDS)
            full = await member.sizes()
            await Churn(cluster, replaces=False).run(scene.store.channel, CHURN, int(CHURN * seconds))
            await asyncio.sleep(2 * TRIM_SECONDS)
            after = await member.drained()
        loader.unload(root / "agent")
        return full, after


def _figures(cluster: Cluster, found: list[tuple[Sizes, Sizes, Sizes]]) -> list[Figure]:
    number = cluster.shape.endpoints
    name = f"memory of an endpoint of {number}"
    return [
        figure(
            name,
            [(full.rss - first.rss) / number for first, full, _ in found],
            "B",
            floors=[_told(cluster)],
            cpu_seconds=figure("", [full.cpu - first.cpu for first, full, _ in found], "s").value,
            peak_rss_bytes=max(after.peak_rss for *_, after in found),
        ),
        figure(
            f"{name}, after changes", [(after.rss - first.rss) / number for first, _, after in found], "B"
        ),
        figure(
            f"{name}, at the peak", [(full.peak_rss - first.rss) / number for first, full, _ in found], "B"
        ),
    ]


def _told(cluster: Cluster) -> float:
    some = [cluster.endpoint(number) for number in range(min(SAMPLE, cluster.shape.endpoints))]
    prefix = len(cluster.prefix(Kind.IPS))
    return sum(prefix + len(suffix) + len(value) for suffix, value in some) / len(some)
