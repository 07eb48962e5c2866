"""Starts a `bench.member` and asks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.process import child, python

START_SECONDS = 60.0
ANSWER_SECONDS = 300.0
_LINE_BYTES = 1 << 27


class Sizes(msgspec.Struct, frozen=True):
    """What a member says of itself. `block_…`: the longest callback since it was last asked."""

    cpu: float
    rss: int
    peak_rss: int
    queue: int
    block_ms: float
    block_cpu_ms: float
    block_who: str
    endpoints: int
    refused: int
    failures: int
    errors: dict[str, str]
    seconds: float = 0.0


class _Stamped(msgspec.Struct):
    stamps: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class MemberClient:
    process: asyncio.subprocess.Process
    first: Sizes
    log: Path

    async def follow(self, peers: int = 1) -> Sizes:
        """Let it read its peers' configurations; once everything of so many peers is in the kernel."""
        return msgspec.json.decode(await self._ask(f"follow {peers}"), type=Sizes)

    async def sizes(self) -> Sizes:
        return msgspec.json.decode(await self._ask("sizes"), type=Sizes)

    async def drained(self, seconds: float = 30.0) -> Sizes:
        """Once nothing waits to be written."""
        return msgspec.json.decode(await self._ask(f"drained {seconds}"), type=Sizes)

    async def stamp(self, *, on: bool) -> Mapping[str, tuple[int, int]]:
        """When each address came and when it stood in the kernel, since the last call."""
        answer = await self._ask(f"stamp {'on' if on else 'off'}")
        return msgspec.json.decode(answer, type=_Stamped).stamps

    async def _ask(self, command: str) -> bytes:
        assert self.process.stdin is not None
        self.process.stdin.write(command.encode() + b"\n")
        return await _line(self.process, ANSWER_SECONDS, self.log)


@asynccontextmanager
async def running_member(
    bpf_root: Path, peers: Path, log: Path, *, services: int = 0
) -> AsyncGenerator[MemberClient]:
    arguments = python("-m", "bench.member", str(bpf_root), str(peers), f"--services={services}")
    async with child(*arguments, log=log, reads_output=True, writes_input=True) as process:
        first = msgspec.json.decode(await _line(process, START_SECONDS, log), type=Sizes)
        yield MemberClient(process, first, log)


async def _line(process: asyncio.subprocess.Process, seconds: float, log: Path) -> bytes:
    assert process.stdout is not None
    async with asyncio.timeout(seconds):
        line = await process.stdout.readline()
    if not line:
        raise RuntimeError(f"the agent ended: {log.read_text()[-2000:]}")
    return line
