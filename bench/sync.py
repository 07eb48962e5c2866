"""`bench sync`: a whole remote cluster, from its etcd into the kernel's maps, beside the least that takes.

The floor: the same keys in one unpaged Range, undecoded and in plain text from etcd itself, then the same
entries written to an empty map in sorted batches. The agent gets them through the proxy with mutual TLS,
decodes and checks each, decides, and has the kernel's map complete: verified by reading it.
"""

from __future__ import annotations

import time
from pathlib import Path

from bench.bpffs import mounted
from bench.cluster import Cluster, shape_of
from bench.figure import Figure, figure
from bench.memberclient import Sizes, running_member
from bench.scene import Scene, running_scene
from bench.store import END, PREFIX
from bpf import datapath, loader
from kvstore import messages as m
from kvstore.methods import RANGE

_OPTIONS = loader.NodeOptions(node_ip="198.18.1.11", vxlan_ifindex=1)


async def measure(folder: Path, *, entries: list[int], runs: int) -> list[Figure]:
    figures: list[Figure] = []
    with mounted(folder / "bpf") as root:
        for number in entries:
            place = folder / f"sync-{number}"
            place.mkdir()
            cluster = Cluster("west", 2, shape_of(number))
            async with running_scene(place, cluster) as scene:
                figures += await _of_cluster(place, root, scene, cluster, runs)
    return figures


async def _of_cluster(folder: Path, root: Path, scene: Scene, cluster: Cluster, runs: int) -> list[Figure]:
    said: list[Sizes] = []
    ranges, writes = list[float](), list[float]()
    for number in range(runs):
        ranges.append(await range_seconds(scene))
        place = root / f"run{number}"
        async with running_member(
            place, scene.peers, folder / "agent.log", services=cluster.shape.services
        ) as member:
            said.append(await member.follow())
            writes.append(_write_seconds(place, root / "floor", cluster.shape.endpoints))
        loader.unload(place)
    name = f"sync of {cluster.shape.endpoints} endpoints"
    peak = max(one.peak_rss for one in said)
    floors = [read + written for read, written in zip(ranges, writes, strict=True)]
    cpu = figure("", [one.cpu for one in said], "s").value
    return [
        figure(
            f"{name}, etcd to kernel",
            [one.seconds for one in said],
            "s",
            floors=floors,
            cpu_seconds=cpu,
            peak_rss_bytes=peak,
        ),
        figure(f"{name}, floor: Range", ranges, "s"),
        figure(f"{name}, floor: map writes", writes, "s"),
        figure(f"{name}, longest block of the loop", [one.block_ms for one in said], "ms"),
        figure(f"{name}, longest block in CPU time", [one.block_cpu_ms for one in said], "ms"),
    ]


async def range_seconds(scene: Scene) -> float:
    """One unpaged list of everything, as bytes."""
    call = scene.store.channel.unary_unary(RANGE.path)
    request = m.RangeRequest(key=PREFIX, range_end=END).SerializeToString()
    begun = time.monotonic()
    await call(request)
    return time.monotonic() - begun


def _write_seconds(place: Path, other: Path, endpoints: int) -> float:
    """The entries that the agent wrote, written once more. RuntimeError unless there are all of them."""
    with datapath.open(place) as maps:
        entries = list(maps.ipcache.dump().items())
    if len(entries) < endpoints:
        raise RuntimeError(f"the kernel has {len(entries)} entries of {endpoints}: the sync is not complete")
    loader.load(other, _OPTIONS)
    with datapath.open(other) as maps:
        begun = time.monotonic()
        maps.ipcache.update(entries)
        taken = time.monotonic() - begun
    loader.unload(other)
    return taken
