"""A cluster's own etcd (Kubernetes' store, not the mesh's) as a child of its server."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from lab import plan
from lab.errors import LabError

START_SECONDS = 30.0
STOP_SECONDS = 5.0
_POLL_SECONDS = 0.01


def etcd_command(name: str, data: Path) -> list[str]:
    """Pure. It dies with its server, whatever happens to that."""
    client, peer = (f"http://127.0.0.1:{plan.KUBE_ETCD_PORT + i}" for i in (0, 1))
    return [
        *("setpriv", "--pdeathsig", "KILL", "--", "etcd"),
        *("--name", name, "--data-dir", str(data), "--log-level", "warn"),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
        *("--initial-cluster", f"{name}={peer}", "--initial-cluster-token", f"kube-{name}"),
        *("--auto-compaction-mode", "periodic", "--auto-compaction-retention", "1h"),
    ]


@asynccontextmanager
async def running(name: str, data: Path, log: Path) -> AsyncGenerator[asyncio.subprocess.Process]:
    """An etcd that answers, in the caller's network, while the block runs. Raises LabError."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = await asyncio.create_subprocess_exec(
            *etcd_command(name, data),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    finally:
        os.close(file)
    try:
        await _wait_listening(process, log)
        yield process
    finally:
        await _stop(process)


async def _wait_listening(process: asyncio.subprocess.Process, log: Path) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", plan.KUBE_ETCD_PORT)
                    writer.close()
                    return
                if process.returncode is not None:
                    raise LabError(f"etcd ended with status {process.returncode}: see {log}")
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError as error:
        raise LabError(f"etcd does not answer within {START_SECONDS:g} s: see {log}") from error


async def _stop(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            process.send_signal(number)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
                return
