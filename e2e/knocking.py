"""Knocking from a pod: `knock.py` run inside it, its answers as values."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from e2e.conftest import Mesh

KNOCK = Path(__file__).with_name("knock.py")
WAIT_SECONDS = 60.0


class Target(msgspec.Struct, frozen=True):
    """An address to knock at; `seconds` is how long one answer may take."""

    host: str
    port: int
    protocol: str = "TCP"
    times: int = 1
    seconds: float = 2.0
    source_port: int = 0  # any


async def knock(mesh: Mesh, cluster: str, pod: str, targets: Sequence[Target]) -> list[Counter[str]]:
    """Per target, how often each `cluster/pod` answered a pod; "" is for nobody."""
    inside = (sys.executable, "-m", "cli", "lab", "--name", mesh.lab.lab, "exec", cluster, pod, "--")
    return await knock_through(inside, targets)


async def knock_through(enter: Sequence[str], targets: Sequence[Target]) -> list[Counter[str]]:
    """As `knock`; `enter` is the beginning of a command that runs the rest of it where the client is."""
    process = await asyncio.create_subprocess_exec(
        *(*enter, sys.executable, str(KNOCK), msgspec.json.encode(targets).decode()),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), WAIT_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return [Counter(each) for each in msgspec.json.decode(said, type=list[dict[str, int]])]


def by_cluster(answers: Counter[str]) -> Counter[str]:
    found = Counter[str]()
    for name, times in answers.items():
        found[name.partition("/")[0]] += times
    return found
