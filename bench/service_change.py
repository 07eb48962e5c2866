"""How long one endpoint's change in a large global service takes, until the kernel's maps are right.

Run as root: `.venv/bin/python -m bench.service_change [backends]`. Times are medians over the changes: of
what the tables decide, of the writes, and of both; for a change in one of our own EndpointSlices (of 100
endpoints each) and for one in a peer's record, its decoding included.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from agent.desired import Clock
from agent.services import Services, Slice
from agent.servicesync import ServiceSync
from bpf import datapath, loader
from mesh import service
from mesh.addressing import ClusterID
from mesh.merge import LocalBackend, LocalService, ServicePort
from mesh.service import GlobalService, Port
from tests.bpf.bpffs import mounted

HTTP = {"http": Port("TCP", 8080)}
PORTS = (ServicePort("http", "TCP", 80),)
CHANGES = 30
SLICE = 100


def address(cluster: int, number: int) -> str:
    return f"10.{cluster}{number >> 14}.{number >> 7 & 127}.{number & 127}"


def record(numbers: range | list[int]) -> bytes:
    backends = {address(2, number): HTTP for number in numbers}
    told = GlobalService("west", "shop", "web", {}, backends, cluster_id=ClusterID(2))
    return service.encode(told)[1]


def piece(number: int, changed: int) -> Slice:
    """Slice `number`, in which the first endpoint is another with every change."""
    first = address(1, 1_000_000 // 64 + changed) if changed else address(1, number * SLICE)
    ips = [first, *(address(1, number * SLICE + n) for n in range(1, SLICE))]
    return Slice("shop/web", tuple(LocalBackend(ip, HTTP) for ip in ips))


async def measure(size: int, maps: datapath.Datapath, weights: str) -> None:
    services = Services(Clock(), cluster="east")
    annotations = {"service.cilium.io/global": "true"}
    if weights:
        annotations["service.clustermesh.io/weights"] = weights
    local = LocalService("shop", "web", annotations, ("172.20.1.5",), PORTS)
    services.set_local("shop/web", local)
    half = size // 2
    for number in range(half // SLICE):
        services.set_slice(f"shop/web-{number:04}", piece(number, 0))
    services.set_remote("west", "shop/web", service.decode("shop/web", record(range(half))))
    services.start()
    sync = ServiceSync(services.wanted, services.sticky, maps.services)
    await sync.upsert()

    async def timed(name: str, change: object) -> None:
        decided, written, both = [], [], []
        for number in range(1, CHANGES + 1):
            work = change(number)  # type: ignore[operator]
            start = time.perf_counter()
            work()
            middle = time.perf_counter()
            await sync.upsert()
            end = time.perf_counter()
            decided.append(middle - start)
            written.append(end - middle)
            both.append(end - start)
        figures = [statistics.median(times) * 1000 for times in (decided, written, both)]
        shown = f"{figures[0]:6.2f} + {figures[1]:6.2f} = {figures[2]:6.2f} ms (max {max(both) * 1000:.2f})"
        print(f"{size} backends{' weighted' if weights else ''}, {name}: {shown}")  # noqa: T201

    await timed("own slice", lambda n: lambda: services.set_slice("shop/web-0003", piece(3, n)))

    def told(number: int) -> object:
        raw = record([*range(1, half), half + number])
        return lambda: services.set_remote("west", "shop/web", service.decode("shop/web", raw))

    await timed("peer's record", told)


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder, mounted(Path(folder, "bpf")) as root:
        loader.load(root / "bench", loader.NodeOptions(node_ip="198.18.1.11", vxlan_ifindex=1))
        with datapath.open(root / "bench") as maps:
            for weights in ("", "local=80,west=20"):
                asyncio.run(measure(size, maps, weights))
        loader.unload(root / "bench")


if __name__ == "__main__":
    main()
