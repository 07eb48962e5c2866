"""Processes under measurement: started, asked what they have used, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

END_SECONDS = 10.0
READY_SECONDS = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def child(
    *arguments: str, log: Path, reads_output: bool = False, writes_input: bool = False
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A process while the block runs. Its standard error goes to `log`, and its output unless we read it."""
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.PIPE if writes_input else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if reads_output else errors,
            stderr=errors,
            limit=1 << 26,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)  # asyncio's own may reap it under the watcher's nose
            try:
                await asyncio.wait_for(process.wait(), END_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def cpu_seconds(pid: int | str) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def peak_rss_bytes(pid: int | str) -> int:
    return _memory(pid, "VmHWM:")


def rss_bytes(pid: int | str) -> int:
    return _memory(pid, "VmRSS:")


def _memory(pid: int | str, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0


async def wait_listening(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    """Until the process accepts connections. Raises RuntimeError with its log when it ends instead."""
    async with asyncio.timeout(READY_SECONDS):
        while True:
            if process.returncode is not None:
                raise RuntimeError(f"ended at once: {log.read_text()[-2000:]}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return
