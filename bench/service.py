"""`bench service`: one endpoint's change in a large global service, until the kernel's maps are right.

Half of the backends are ours, in EndpointSlices of 100 endpoints each, half a peer's, in one record. The
floor of a change is to read what was told: to decode the peer's whole record, which is what every reader of
Cilium's format has to do; and of the maps, the writes alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from agent.desired import Clock
from agent.ownslices import Slice
from agent.services import Services
from agent.servicesync import ServiceSync
from bench.bpffs import mounted
from bench.figure import Figure, figure
from bench.process import cpu_seconds, peak_rss_bytes
from bpf import datapath, loader
from mesh import service
from mesh.addressing import ClusterID
from mesh.localservice import LocalBackend, LocalService
from mesh.matching import ServicePort
from mesh.service import GlobalService, Port

HTTP = {"http": Port("TCP", 8080)}
PORTS = (ServicePort("http", "TCP", 80),)
CHANGES = 10  # of a run
SLICE = 100
KEY = "shop/web"
WEIGHTS = "local=80,west=20"


def address(cluster: int, number: int) -> str:
    return f"10.{cluster}{number >> 14}.{number >> 7 & 127}.{number & 127}"


def record(numbers: list[int]) -> bytes:
    backends = {address(2, number): HTTP for number in numbers}
    told = GlobalService("west", "shop", "web", {}, backends, cluster_id=ClusterID(2))
    return service.encode(told)[1]


def piece(number: int, changed: int) -> Slice:
    """Slice `number`, in which the first endpoint is another with every change."""
    first = address(1, 1_000_000 // 64 + changed) if changed else address(1, number * SLICE)
    ips = [first, *(address(1, number * SLICE + n) for n in range(1, SLICE))]
    return Slice(KEY, tuple(LocalBackend(ip, HTTP) for ip in ips))


@dataclass
class Times:
    """Milliseconds of every change."""

    decided: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)
    decoded: list[float] = field(default_factory=list)
    cpu: float = 0.0

    @property
    def total(self) -> list[float]:
        return [one + other for one, other in zip(self.decided, self.written, strict=True)]


class Large:
    """A global service of `size` backends, in the tables and in the kernel."""

    def __init__(self, size: int, maps: datapath.Datapath, weights: str) -> None:
        self._half = max(1, size // 2)
        self.services = Services(Clock(), cluster="east")
        annotations = {"service.cilium.io/global": "true"}
        if weights:
            annotations["service.clustermesh.io/weights"] = weights
        self.services.set_local(KEY, LocalService("shop", "web", annotations, ("172.20.1.5",), PORTS))
        for number in range(max(1, self._half // SLICE)):
            self.services.set_slice(f"shop/web-{number:04}", piece(number, 0))
        self._told(record(list(range(self._half))))
        self.services.start()
        known = self.services
        self._sync = ServiceSync(known.wanted, known.masters, maps.services)

    async def settle(self) -> None:
        await self._sync.upsert()
        await self._sync.remove()

    async def own_slice(self, times: Times, number: int) -> None:
        await self._timed(times, lambda: self.services.set_slice("shop/web-0000", piece(0, number)))

    async def record(self, times: Times, number: int) -> None:
        raw = record([*range(1, self._half), self._half + number])
        begun = time.perf_counter()
        service.decode(KEY, raw)
        times.decoded.append((time.perf_counter() - begun) * 1000)
        await self._timed(times, lambda: self._told(raw))

    async def _timed(self, times: Times, change: Callable[[], None]) -> None:
        used, start = cpu_seconds("self"), time.perf_counter()
        change()
        middle = time.perf_counter()
        await self.settle()
        end = time.perf_counter()
        times.decided.append((middle - start) * 1000)
        times.written.append((end - middle) * 1000)
        times.cpu += cpu_seconds("self") - used

    def _told(self, raw: bytes) -> None:
        self.services.set_remote("west", KEY, service.decode(KEY, raw))


async def measure(folder: Path, *, backends: list[int], runs: int) -> list[Figure]:
    figures: list[Figure] = []
    with mounted(folder / "bpf") as root:
        await asyncio.to_thread(loader.load, root / "bench", loader.NodeOptions("198.18.1.11", 1))
        with datapath.open(root / "bench") as maps:
            for size in backends:
                for weights in ("", WEIGHTS):
                    figures += await _of_size(size, maps, weights, CHANGES * runs)
        loader.unload(root / "bench")
    return figures


async def _of_size(size: int, maps: datapath.Datapath, weights: str, changes: int) -> list[Figure]:
    large, slices, records = Large(size, maps, weights), Times(), Times()
    await large.settle()
    for number in range(1, changes + 1):
        await large.own_slice(slices, number)
        await large.record(records, number)
    name = f"change in a service of {size} backends{', weighted' if weights else ''}"
    rss = peak_rss_bytes("self")
    return [
        figure(f"{name}: our own slice", slices.total, "ms", cpu_seconds=slices.cpu, peak_rss_bytes=rss),
        figure(f"{name}: our own slice, the writes", slices.written, "ms"),
        figure(
            f"{name}: a peer's record",
            records.total,
            "ms",
            floors=records.decoded,
            cpu_seconds=records.cpu,
            peak_rss_bytes=rss,
        ),
        figure(f"{name}: a peer's record, the writes", records.written, "ms"),
    ]
