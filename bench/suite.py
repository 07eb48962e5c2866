"""All benchmarks at sizes that take a few minutes together: for a look at everything, and the document."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from bench import datapath, hooks, memory, mesh, propagation, proxy, service, sync
from bench.figure import Figure

Part = Callable[[], Coroutine[Any, Any, list[Figure]]]


def parts(folder: Path, runs: int) -> dict[str, Part]:
    """By name, in the order in which they run; each has a folder of its own."""

    def place(name: str) -> Path:
        made = folder / name
        made.mkdir()
        return made

    return {
        "sync": partial(sync.measure, place("sync"), entries=[10_000, 100_000, 500_000], runs=runs),
        "propagation": partial(
            propagation.measure,
            place("propagation"),
            endpoints=100_000,
            rates=[325, 3250],
            seconds=3.0,
            runs=runs,
        ),
        "memory": partial(memory.measure, place("memory"), entries=[100_000, 500_000], seconds=5.0, runs=1),
        "service": partial(service.measure, place("service"), backends=[100, 1_000, 10_000], runs=runs),
        "mesh": partial(mesh.measure, place("mesh"), number=50, share=0.4, seconds=10.0, rate=325.0, runs=1),
        "proxy": partial(
            proxy.measure,
            place("proxy"),
            keys=100_000,
            crowds=[proxy.Crowd(100), proxy.Crowd(1000), proxy.Crowd(100, 5000)],
            runs=runs,
        ),
        "hooks": partial(hooks.measure, place("hooks"), runs=runs),
        "datapath": partial(datapath.measure, place("datapath"), seconds=1.0, runs=runs),
    }
