"""Node ports for a client outside, in the lab of `bench datapath`: through west's node to the pod there, and
through east's to the same pod, which is on another node then.

The floor is the same client and the same program as a process of west's node: no service, no tunnel, no pod.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.figure import Figure, figure
from bench.place import Place, reuse_ports, serving
from lab import plan
from lab.demo.driver import Driver
from lab.plan import LabPlan

NODE_PORT, DIRECT_PORT = 30_090, 9001
ADDRESS = "198.19.255.9"  # of the fabric's network, far from all nodes'
CLUSTERS = ["east", "west"]
LOADS = {"TCP stream": ("stream", 8e-9, "Gbit/s"), "connect and request": ("request", 1.0, "µs")}


async def measure(folder: Path, lab: Driver, *, seconds: float, runs: int) -> list[Figure]:
    laid_out = plan.make(lab.lab, CLUSTERS, 1)
    there, here = (laid_out.cluster(name).nodes[1] for name in CLUSTERS)
    figures = []
    with _outside(laid_out) as namespace:
        async with serving(here.namespace, folder / "direct.log", DIRECT_PORT):
            enter = ("ip", "netns", "exec", namespace)
            near, far = Place(enter, str(here.ip)), Place(enter, str(there.ip))
            for name, (kind, scale, unit) in LOADS.items():
                found: dict[str, list[float]] = {"pod of the node": [], "pod of another node": [], "": []}
                for _ in range(runs):
                    ways = ((near, NODE_PORT), (far, NODE_PORT), (near, DIRECT_PORT))
                    for times, (place, port) in zip(found.values(), ways, strict=True):
                        times.append(await place.run(kind, seconds, port=port) * scale)
                floors = found.pop("")
                figures += [
                    figure(f"node port, {backend}: {name}", times, unit, floors=floors)
                    for backend, times in found.items()
                ]
    return figures


@contextmanager
def _outside(laid_out: LabPlan) -> Iterator[str]:
    """A namespace on the lab's fabric; its name is of the lab's, so that `lab down` would find it too."""
    name, end = f"{plan.namespace_prefix(laid_out.name)}outside", "outside"
    with ExitStack() as undo:
        _ip("netns", "add", name)
        undo.callback(_ip, "netns", "del", name)
        _ip("-n", laid_out.fabric, "link", "add", end, "type", "veth", "peer", "eth0", "netns", name)
        undo.callback(_ip, "-n", laid_out.fabric, "link", "del", end)
        _ip("-n", laid_out.fabric, "link", "set", end, "master", "fabric", "up")
        _ip("-n", name, "addr", "add", f"{ADDRESS}/{plan.UNDERLAY.prefixlen}", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        reuse_ports("ip", "netns", "exec", name)
        yield name


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
