"""Where a load runs (`load.py`), and what it is for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.process import child

PORT = 9000
SETTLE_SECONDS = 30.0
LOAD_SECONDS = 60.0


@dataclass(frozen=True)
class Place:
    """Where a load runs, and which address it is for."""

    enter: tuple[str, ...]
    address: str

    async def run(self, kind: str, seconds: float, address: str = "", port: int = PORT) -> float:
        load = (sys.executable, "-m", "bench.load", kind, address or self.address, str(port), str(seconds))
        process = await asyncio.create_subprocess_exec(
            *self.enter, *load, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(seconds + LOAD_SECONDS):
            out, err = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"{kind} to {address or self.address}: {err.decode()[-500:]}")
        return float(out)


def reuse_ports(*enter: str) -> None:
    """For clients in the network that `enter` leads to: a load makes more connections than there are ports
    for the minute that each is remembered, and connect() would be measured searching for a free one."""
    subprocess.run([*enter, "sysctl", "-qw", "net.ipv4.tcp_tw_reuse=1"], check=True)


@asynccontextmanager
async def serving(namespace: str, log: Path, port: int = PORT) -> AsyncGenerator[None]:
    """A server of loads in a network namespace, once it listens."""
    serve = ("ip", "netns", "exec", namespace, sys.executable, "-m", "bench.load", "serve", str(port))
    async with child(*serve, log=log, reads_output=True) as process:
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), SETTLE_SECONDS)
        yield
