"""The demo's measurements, one function each. They act through a Driver and return plain values."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE, Process

import msgspec

import bpf.datapath
from bpf import metrics_map
from bpf.ipcache_map import pack_key
from bpf.pinned_map import PinnedMap
from k8s.resource import CILIUMIDENTITY
from lab.demo.driver import Answer, Driver
from lab.demo.report import Quantiles, quantiles
from lab.plan import LabPlan, NodePlan

MESH_ETCD = "127.0.0.1:2378"  # on the control-plane node's loopback
ANSWER_SECONDS = 30.0
DENY_SECONDS = 20.0
PROBES = 100
PROBE_SECONDS = 60.0
POLL_SECONDS = 0.0003  # finer would take a core away from what is being measured
STEADY_FAILURES = 2  # so many in a row are a denial and no accident
STEADY_ANSWERS = 20  # so many in a row from the surviving cluster end a failover


async def until_answered_by(
    lab: Driver, pod: str, url: str, clusters: set[str], *, at_least: int = 1
) -> list[Answer]:
    """Curl from east's `pod` `at_least` times and until each of `clusters` has answered; all answers."""
    seen: list[Answer] = []
    async with asyncio.timeout(ANSWER_SECONDS), lab.curling("east", pod, url) as answers:
        async for answer in answers:
            seen.append(answer)
            if len(seen) >= at_least and clusters <= {each.cluster for each in seen}:
                return seen
    raise TimeoutError("curl ended before every cluster had answered")


async def failover(lab: Driver, pod: str, url: str) -> tuple[int, float]:
    """Scale east's web to 0 under curl; failed curls, and milliseconds until only west answers.

    Two backends in each cluster: a run of STEADY_ANSWERS from west that is mere chance has the odds
    2**-STEADY_ANSWERS. The time is that of the first answer of the run.
    """
    failed = steady = 0
    since = 0.0
    async with (
        asyncio.timeout(ANSWER_SECONDS),
        lab.curling("east", pod, url) as answers,
        asyncio.TaskGroup() as group,
    ):
        await anext(answers)
        started = time.monotonic()
        group.create_task(lab.scale("east", "web", 0), name="scale east's web to 0")
        async for answer in answers:
            failed += not answer.served_by
            steady = steady + 1 if answer.cluster == "west" else 0
            if steady == 1:
                since = time.monotonic()
            if steady == STEADY_ANSWERS:
                break
    return failed, round((since - started) * 1000, 1)


async def is_denied(lab: Driver, pod: str, url: str) -> bool:
    """Whether curls from east's `pod` stop being answered within DENY_SECONDS."""
    failures = 0
    try:
        async with asyncio.timeout(DENY_SECONDS), lab.curling("east", pod, url) as answers:
            async for answer in answers:
                failures = 0 if answer.served_by else failures + 1
                if failures == STEADY_FAILURES:
                    return True
    except TimeoutError:
        pass
    return False


def count_drops(plan: LabPlan, cluster: str) -> int:
    """Packets that the policies of a cluster's nodes have dropped so far, from the kernel's counters."""
    return sum(_policy_drops(node) for node in plan.cluster(cluster).nodes[1:])


def _policy_drops(node: NodePlan) -> int:
    with bpf.datapath.open(node.bpf_root) as datapath:
        counters = metrics_map.read(datapath.metrics.dump())
    return sum(each.packets for each in counters if each.reason.startswith("policy denied"))


async def measure_propagation(lab: Driver, plan: LabPlan) -> Quantiles:
    """Milliseconds from before a put into west's etcd until east's node-1 has it in its kernel map."""
    west, reader = plan.cluster("west"), plan.cluster("east").nodes[1]
    writer = west.nodes[1]
    ips = [f"{writer.pod_cidr.network_address + 100 + i}" for i in range(PROBES)]
    identity = await _some_identity(lab, "west")
    process = await asyncio.create_subprocess_exec(
        *("nsenter", f"--net=/run/netns/{west.control.namespace}", sys.executable, "-m", "lab.demo.probe"),
        *("--endpoint", f"http://{MESH_ETCD}", "--cluster", "west", "--identity", str(identity)),
        *("--host-ip", str(writer.ip), *ips),
        stdin=PIPE,
        stdout=PIPE,
    )
    try:
        with bpf.datapath.open(reader.bpf_root) as datapath:
            async with asyncio.timeout(PROBE_SECONDS):
                return quantiles(await _arrivals(process, datapath.ipcache, len(ips)))
    finally:
        await _finish(process)


async def _arrivals(process: Process, ipcache: PinnedMap, count: int) -> list[float]:
    """For every line of the probe: milliseconds until the kernel map answers for its IP."""
    assert process.stdout is not None
    delays: list[float] = []
    while len(delays) < count:
        ip, sent = (await process.stdout.readline()).decode().split()
        key = pack_key(f"{ip}/32")
        while ipcache.lookup(key) is None:  # noqa: ASYNC110 - a kernel map wakes nobody
            await asyncio.sleep(POLL_SECONDS)
        delays.append((time.monotonic_ns() - int(sent)) / 1e6)
    return delays


async def _finish(process: Process) -> None:
    """Let the probe remove its entries and end."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), 10)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _some_identity(lab: Driver, cluster: str) -> int:
    async with lab.kubernetes(cluster) as client:
        found = await client.list(CILIUMIDENTITY)
        return int(msgspec.json.decode(found[0])["metadata"]["name"])
