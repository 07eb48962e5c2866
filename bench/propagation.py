"""`bench propagation`: a put in a cluster's etcd, until it is read back from another's kernel map.

Through the proxy with mutual TLS to the agent, and once more by way of KVStoreMesh and a second etcd. The
floor is etcd itself: from the put to the event in a plain watch of the same prefix. Each change is of another
address, so that none is overtaken; the times are of one machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.bpffs import mounted
from bench.cluster import KINDS, Cluster, shape_of
from bench.figure import Figure, figure
from bench.floor import leased_write_seconds
from bench.generate import Churn, everything
from bench.latency import Outcome, outcome
from bench.memberclient import MemberClient, running_member
from bench.mirror import Mirror, running_mirror
from bench.process import cpu_seconds, peak_rss_bytes
from bench.scene import Scene, running_scene
from kvstore import messages as m
from kvstore.methods import WATCH
from mesh import keys
from mesh.keys import Kind

STILL_SECONDS = 5.0


@dataclass(frozen=True)
class Bench:
    """An agent that follows a cluster, and how it is measured."""

    scene: Scene
    member: MemberClient
    cluster: Cluster
    seconds: float
    runs: int


async def measure(
    folder: Path, *, endpoints: int, rates: list[int], seconds: float, runs: int
) -> list[Figure]:
    cluster = Cluster("west", 2, shape_of(endpoints))
    with mounted(folder / "bpf") as root:
        async with running_scene(folder, cluster) as scene:
            floors = {rate: await _floors(scene, cluster, rate, seconds, runs) for rate in rates}
            agents = folder / "agent.log"
            async with running_member(root / "direct", scene.peers, agents) as member:
                await member.follow()
                figures = await _of_way("directly", Bench(scene, member, cluster, seconds, runs), floors)
            async with running_mirror(folder / "mirror") as mirror:
                figures += await _reflected(folder, scene, mirror, cluster)
                async with running_member(root / "mirror", mirror.local, agents) as member:
                    await member.follow()
                    bench = Bench(scene, member, cluster, seconds, runs)
                    figures += await _of_way("by KVStoreMesh", bench, floors)
    return figures


async def _of_way(way: str, bench: Bench, floors: dict[int, list[Outcome]]) -> list[Figure]:
    figures: list[Figure] = []
    for rate, floor in floors.items():
        before = await bench.member.sizes()
        found = [await _run(bench, rate) for _ in range(bench.runs)]
        after = await bench.member.sizes()
        figures += _figures(f"{way}, {rate}/s", found, floor, after.cpu - before.cpu, after.peak_rss)
    return figures


async def _run(bench: Bench, rate: int) -> Outcome:
    member, scene = bench.member, bench.scene
    await member.stamp(on=True)
    churn = Churn(bench.cluster)
    changes = int(rate * bench.seconds)
    await churn.run(scene.store.channel, rate, changes, first=scene.turn(changes))
    arrived: dict[str, tuple[int, int]] = {}
    end = time.monotonic() + STILL_SECONDS
    while len(arrived) < len(churn.puts) and time.monotonic() < end:
        arrived |= await member.stamp(on=True)
        await asyncio.sleep(0.05)
    await member.stamp(on=False)
    return outcome({ip: (put.sent, put.stored) for ip, put in churn.puts.items()}, arrived)


def _figures(name: str, found: list[Outcome], floor: list[Outcome], cpu: float, peak: int) -> list[Figure]:
    both = [one.percentiles() for one in found]
    least = [one.percentiles() for one in floor]
    hops = {
        "put until etcd has it": [one.stored for one in found],
        "put until the agent hears": [one.heard for one in found],
        "heard until in the kernel": [one.written for one in found],
    }
    return [
        figure(
            f"{name}: p50",
            [p50 for p50, _ in both],
            "ms",
            floors=[p50 for p50, _ in least],
            cpu_seconds=cpu / len(found),
            peak_rss_bytes=peak,
        ),
        figure(f"{name}: p99", [p99 for _, p99 in both], "ms", floors=[p99 for _, p99 in least]),
        *(
            figure(f"{name}: {hop}, p{at}", [_at(one, at) for one in times], "ms")
            for hop, times in hops.items()
            for at in (50, 99)
        ),
        figure(f"{name}: changes under way, most", [max(one.backlog, default=0) for one in found], ""),
        figure(f"{name}: changes under way, growth", [one.growth for one in found], ""),
        *_queue(name, [one.by_second for one in found]),
        figure(f"{name}: changes that never came", [one.missing for one in found], ""),
    ]


def _queue(name: str, found: list[list[float]]) -> list[Figure]:
    """The queue over time: a mean for each second."""
    seconds = min(map(len, found))
    return [
        figure(f"{name}: changes under way, second {at + 1}", [one[at] for one in found], "")
        for at in range(seconds)
    ]


def _at(times: list[float], percent: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


async def _floors(scene: Scene, cluster: Cluster, rate: int, seconds: float, runs: int) -> list[Outcome]:
    return [await _floor(scene, cluster, rate, seconds) for _ in range(runs)]


async def _floor(scene: Scene, cluster: Cluster, rate: int, seconds: float) -> Outcome:
    """etcd alone: the same changes, watched directly."""
    changes = int(rate * seconds)
    async with _watched(scene, cluster, changes) as heard:
        churn = Churn(cluster)
        await churn.run(scene.store.channel, rate, changes, first=scene.turn(changes))
        async with asyncio.timeout(STILL_SECONDS):
            while len(heard) < len(churn.puts):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    arrived = {ip: (at, at) for ip, at in heard.items()}
    return outcome({ip: (put.sent, put.stored) for ip, put in churn.puts.items()}, arrived)


@asynccontextmanager
async def _watched(scene: Scene, cluster: Cluster, changes: int) -> AsyncGenerator[dict[str, int]]:
    prefix, heard = cluster.prefix(Kind.IPS), dict[str, int]()
    create = m.WatchCreateRequest(key=prefix, range_end=prefix[:-1] + b"0")
    open_stream = scene.store.channel.stream_stream(
        WATCH.path, WATCH.request.SerializeToString, WATCH.response.FromString
    )
    stream = open_stream()
    await stream.write(m.WatchRequest(create_request=create))
    await stream.read()

    async def listen() -> None:
        while len(heard) < changes:
            answer = await stream.read()
            now = time.monotonic_ns()
            for event in answer.events:
                heard[event.kv.key[len(prefix) :].decode()] = now

    async with asyncio.TaskGroup() as group:
        task = group.create_task(listen(), name="listen")
        yield heard
        task.cancel()
    stream.cancel()


async def _reflected(folder: Path, scene: Scene, mirror: Mirror, cluster: Cluster) -> list[Figure]:
    """Everything copied, leased, beside the same keys written as fast as etcd takes them."""
    before = cpu_seconds(mirror.pid)
    mirror.follow(cluster.name, scene.door.configuration())
    await mirror.stands(keys.cluster_config(cluster.name))
    begun = time.monotonic()
    await mirror.copied([cluster.name], KINDS)
    taken = time.monotonic() - begun
    return [
        figure(
            f"KVStoreMesh copies {cluster.shape.total} leased keys",
            [taken],
            "s",
            floors=[await leased_write_seconds(folder, list(everything(cluster)))],
            cpu_seconds=cpu_seconds(mirror.pid) - before,
            peak_rss_bytes=peak_rss_bytes(mirror.pid),
        )
    ]
