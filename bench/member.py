"""A node's agent as far as it follows peers, as a process under measurement.

Everything between a peer's etcd and the kernel's maps is the agent's code, put together as `agent.serve`
does it. What would come from Kubernetes is said here in its place: a complete, empty cluster, with the
services that make peers' backends count. Reads one command a line and answers each with one JSON object;
ends with its input. See `bench.memberclient` for who talks to it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from agent.config import CONNECTS_AT_ONCE, CONNECTS_PER_SECOND
from agent.datapath import Datapath
from agent.kernel import KernelMaps
from agent.local import LocalNode
from agent.peerstate import PeerState
from agent.tablecheck import Readable
from agent.tables import Tables
from aiokit import collector
from aiokit.health import Health
from aiokit.heap import giving_back
from aiokit.tokenbucket import TokenBucket
from bench.cluster import service_name
from bench.loopwatch import LoopWatch
from bench.process import cpu_seconds, peak_rss_bytes, rss_bytes
from bpf import datapath as bpf_datapath
from bpf import loader
from bpf.pinned_map import PinnedMap
from kvstore.meter import Meter
from kvstore.metered import connecting
from kvstore.watch import Delta
from mesh.addressing import PeerScope, member_scope
from mesh.keys import Kind
from mesh.localservice import LocalService
from mesh.matching import ServicePort
from peering.clusterids import ClusterIDs
from peering.peer import Peer
from peering.peers import Peers

POLL_SECONDS = 0.001
TRIM_SECONDS = 3.0  # sooner than the agent does it: a run is short
_PORTS = (ServicePort("http", "TCP", 80),)


class Stamps:
    """When each address was heard of and when it was read back from the kernel; monotonic nanoseconds."""

    def __init__(self) -> None:
        self.heard: dict[str, int] = {}
        self.kernel: dict[str, int] = {}
        self.is_on = False

    def take(self) -> dict[str, tuple[int, int]]:
        found = {ip: (self.heard.get(ip, 0), at) for ip, at in self.kernel.items()}
        for ip in self.kernel:
            self.heard.pop(ip, None)
        self.kernel = {}
        return found


class ReadBack:
    """A map whose every write is looked up again. Satisfies `agent.tablecheck.Readable`."""

    def __init__(self, target: PinnedMap, stamps: Stamps) -> None:
        self._target = target
        self._stamps = stamps
        self.dump, self.delete = target.dump, target.delete
        self.lookup, self.chunks = target.lookup, target.chunks

    def update(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        told = list(items)
        self._target.update(told)
        if self._stamps.is_on:
            for key, value in told:
                if self._target.lookup(key) == value:
                    ip = ".".join(map(str, key[8:12]))
                    self._stamps.kernel[ip] = time.monotonic_ns()


class StampedState(PeerState):
    """Notes when an address was heard of."""

    stamps: Stamps

    def apply(self, kind: Kind, delta: Delta, scope: PeerScope) -> None:
        if kind is Kind.IPS and self.stamps.is_on:
            now = time.monotonic_ns()
            self.stamps.heard.update((key.decode(), now) for key, _ in delta.upserts)
        super().apply(kind, delta, scope)


class Member:
    """The parts, and what is asked of them."""

    def __init__(self, maps: bpf_datapath.Datapath, peers_directory: Path, services: int) -> None:
        self.stamps = Stamps()
        self.watch = LoopWatch()
        self.scope = member_scope("bench", 255, 255)
        self.tables = Tables(LocalNode(self.scope, "bench", "198.18.1.11"))
        target: Readable = ReadBack(maps.ipcache, self.stamps)
        self.kernel = KernelMaps(
            self.tables,
            ipcache=target,
            policy=maps.policy,
            endpoints=maps.endpoints,
            services=maps.services,
            nodes=maps.nodes,
        )
        self.datapath = Datapath(self.tables, self.kernel, health=Health())
        self.states: dict[str, PeerState] = {}
        ids, connector = ClusterIDs(), connecting(Meter(), lambda _host: ())
        budget = TokenBucket(CONNECTS_PER_SECOND, CONNECTS_AT_ONCE)

        def make(name: str) -> Peer:
            state = self.states[name] = StampedState(name, self.tables)
            state.stamps = self.stamps
            return Peer(name, sink=state, connect=connector, ids=ids, local=self.scope, budget=budget)

        self.peers = Peers(peers_directory, self.scope.name, make, self.tables.settle)
        self.tables.set_peer_listings(self._listings)
        for number in range(services):
            self.tables.services.set_local("/".join(service_name(number)), _local(number))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.datapath.run(), name="datapath")]
            tasks.append(group.create_task(giving_back(TRIM_SECONDS), name="heap"))
            self.tables.own_listed()
            await self.datapath.wait_applied(self.tables.clock.revision)
            print(msgspec.json.encode(await self._sizes()).decode(), flush=True)  # noqa: T201 - ready
            reader = await _lines()
            while line := await reader.readline():
                words = line.decode().split()
                if words[0] == "follow":
                    self.watch.reset()
                    self.begun = time.monotonic()
                    tasks.append(group.create_task(self.peers.run(), name="peers"))
                answer = await self._answer(words)
                print(msgspec.json.encode(answer).decode(), flush=True)  # noqa: T201 - this is its output
            for task in tasks:
                task.cancel()

    async def _answer(self, words: list[str]) -> dict[str, Any]:
        match words:
            case ["follow", number]:
                return await self._followed(int(number))
            case ["stamp", switch]:
                self.stamps.is_on = switch == "on"
                return {"stamps": self.stamps.take()}
            case ["drained", seconds]:
                await self._drained(float(seconds))
                return await self._sizes()
            case ["sizes"]:
                return await self._sizes()
            case _:
                raise ValueError(f"unknown command {words}")

    async def _followed(self, peers: int) -> dict[str, Any]:
        """Once so many peers' entries are all in the kernel's maps."""
        while sum(map(self._is_programmed, self.states.values())) < peers:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)
        seconds = time.monotonic() - self.begun
        return {"seconds": seconds} | await self._sizes()

    async def _drained(self, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while self._queue() or self.datapath.applied() < self.tables.clock.revision:  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)

    def _is_programmed(self, state: PeerState) -> bool:
        revision = state.listed_revision
        return revision is not None and self.datapath.applied() >= revision

    def _queue(self) -> int:
        return self.tables.ipcache.wanted.dirty

    async def _sizes(self) -> dict[str, Any]:
        watch = self.watch
        gc.collect()
        found = {
            "cpu": cpu_seconds("self"),
            "rss": rss_bytes("self"),
            "peak_rss": peak_rss_bytes("self"),
            "queue": self._queue(),
            "block_ms": watch.longest_ms,
            "block_cpu_ms": watch.longest_cpu_ms,
            "block_who": watch.who,
            "endpoints": sum(state.counts().endpoints for state in self.states.values()),
            "refused": sum(sum(state.counts().refusals.values()) for state in self.states.values()),
            "failures": sum(peer.status().failures for peer in self.peers.peers.values()),
            "errors": dict(self.datapath.errors()),
        }
        await asyncio.sleep(0)  # the collection above was our doing: it must not count as the next one's
        watch.reset()
        return found

    def _listings(self) -> list[tuple[Any, bool]] | None:
        if not self.peers.is_read:
            return None
        return [(self.states[name].cluster_id, self.states[name].is_listed) for name in self.peers.peers]


def _local(number: int) -> LocalService:
    namespace, name = service_name(number)
    annotations = {"service.cilium.io/global": "true"}
    address = f"172.31.{number >> 8 & 255}.{number & 255}"
    return LocalService(namespace, name, annotations, (address,), _PORTS)


async def _lines() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(partial(asyncio.StreamReaderProtocol, reader), sys.stdin)
    return reader


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bpf_root", type=Path)
    parser.add_argument("peers", type=Path)
    parser.add_argument("--services", type=int, default=0)
    told = parser.parse_args()
    loader.load(told.bpf_root, loader.NodeOptions(node_ip="198.18.1.11", vxlan_ifindex=1))
    with bpf_datapath.open(told.bpf_root) as maps:
        collector.calm()
        asyncio.run(Member(maps, told.peers, told.services).run())


if __name__ == "__main__":
    main()
