"""`bench mesh`: many clusters into one KVStoreMesh, and from there into one agent, while they change.

The clusters stand in one etcd, in the form that a KVStoreMesh's copies have, as Cilium's own mock for scale
tests does it: what is read, how it is checked and how it is stored is the same, only the far side is one
process. The floor of the bootstrap is to write the same keys into an etcd, leased.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.bpffs import mounted
from bench.cluster import KINDS, Cluster, Shape
from bench.figure import Figure, figure
from bench.floor import leased_write_seconds
from bench.generate import Churn, beat, beating, everything, write
from bench.memberclient import MemberClient, running_member
from bench.mirror import Mirror, running_mirror
from bench.process import cpu_seconds, peak_rss_bytes
from bench.progress import progress
from bench.scene import Door, running_door
from bench.store import Store, running_store
from bpf import loader
from certs import profile

NODES, ENDPOINTS, IDENTITIES, SERVICES = 25_000, 250_000, 25_000, 200  # of all clusters together
ADDRESSES_OF_A_NODE = 256
SAMPLE_SECONDS = 1.0


@dataclass
class Samples:
    """Taken while clusters change."""

    queue: list[float] = field(default_factory=list)
    failures: int = 0
    refused: int = 0
    errors: int = 0


def clusters(number: int, share: float) -> list[Cluster]:
    """So many, alike; together `share` of the whole size."""

    def part(total: int) -> int:
        return max(1, int(total * share) // number)

    endpoints, nodes = part(ENDPOINTS), part(NODES)
    shape = Shape(
        endpoints=endpoints,
        nodes=max(nodes, -(-endpoints // 250)),
        identities=part(IDENTITIES),
        services=part(SERVICES),
        backends=2,
    )
    network = shape.nodes * ADDRESSES_OF_A_NODE
    return [
        Cluster(f"c{index}", index + 2, shape, first_network=(10 << 24) + index * network, cached=True)
        for index in range(number)
    ]


async def measure(
    folder: Path, *, number: int, share: float, seconds: float, rate: float, runs: int
) -> list[Figure]:
    every = clusters(number, share)
    bootstraps, agents, cpu, peaks = list[float](), list[float](), list[float](), list[int]()
    samples = Samples()
    with mounted(folder / "bpf") as root:
        async with _mocked(folder, every) as (store, door):
            floor = await leased_write_seconds(folder, [pair for one in every for pair in everything(one)])
            for run in range(runs):
                place = folder / f"run{run}"
                async with running_mirror(place) as mirror:
                    bootstraps.append(await _bootstrap(mirror, door, every))
                    log = place / "agent.log"
                    async with running_member(
                        root / "agent", mirror.local, log, services=every[0].shape.services
                    ) as member:
                        agents.append((await member.follow(number)).seconds)
                        if run == runs - 1:
                            await _churn(store, mirror, member, every, samples, rate=rate, seconds=seconds)
                    cpu.append(cpu_seconds(mirror.pid))
                    peaks.append(peak_rss_bytes(mirror.pid))
                loader.unload(root / "agent")
    name = f"{number} clusters, {every[0].shape.endpoints * number} endpoints"
    return [
        figure(
            f"{name}: KVStoreMesh has all",
            bootstraps,
            "s",
            floors=[floor],
            cpu_seconds=figure("", cpu, "s").value,
            peak_rss_bytes=max(peaks),
        ),
        figure(f"{name}: an agent has all", agents, "s"),
        figure(f"{name}: queue at {rate:g}/s, most", [max(samples.queue, default=0.0)], "changes"),
        figure(f"{name}: queue at {rate:g}/s", samples.queue or [0.0], "changes"),
        figure(f"{name}: errors", [float(samples.errors)], ""),
        figure(f"{name}: refused", [float(samples.refused)], ""),
        figure(f"{name}: reconnects", [float(samples.failures)], ""),
    ]


@asynccontextmanager
async def _mocked(folder: Path, every: list[Cluster]) -> AsyncGenerator[tuple[Store, Door]]:
    place = folder / "mocked"
    place.mkdir()
    async with (
        running_store(place) as store,
        running_door(place, store, "mocked", profile.local("mocked")) as door,
        asyncio.TaskGroup() as group,
    ):
        await beat(store.channel)
        beats = group.create_task(beating(store.channel), name="heartbeat")
        total = sum(one.shape.total for one in every)
        with progress(f"writing {len(every)} clusters", total) as written:
            await write(store.channel, (pair for one in every for pair in everything(one)), written=written)
        said = [pair for one in every for pair in (*one.canaries(), one.config())]
        await write(store.channel, said)
        yield store, door
        beats.cancel()


async def _bootstrap(mirror: Mirror, door: Door, every: list[Cluster]) -> float:
    begun = time.monotonic()
    for one in every:
        mirror.follow(one.name, door.configuration())
    await mirror.copied([one.name for one in every], KINDS)
    return time.monotonic() - begun


async def _churn(
    store: Store,
    mirror: Mirror,
    member: MemberClient,
    every: list[Cluster],
    into: Samples,
    *,
    rate: float,
    seconds: float,
) -> None:
    """All clusters change, `rate` a second together; what waits is asked every second."""
    changes = int(rate * seconds / len(every))
    async with asyncio.TaskGroup() as group:
        churns = [
            group.create_task(
                Churn(one, replaces=False).run(store.channel, rate / len(every), changes),
                name=f"churn/{one.name}",
            )
            for one in every
        ]
        while not all(task.done() for task in churns):
            await asyncio.sleep(SAMPLE_SECONDS)
            into.queue.append(float((await member.sizes()).queue))
    sizes = await member.drained()
    said: list[dict[str, Any]] = await mirror.said()
    into.failures = sizes.failures + sum(one.get("num-failures", 0) for one in said)
    into.refused = sizes.refused + sum(sum(one.get("refusals", {}).values()) for one in said)
    into.errors = len(sizes.errors) + sum(not one["ready"] for one in said)
