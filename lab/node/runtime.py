"""Runs a container's process: in its network, with its volumes, in its pod's cgroup, logging to a file.

A process is started through a chain of small programs that each replace themselves (enter the network
namespace, take a private mount namespace, ask to die with us, join the cgroup, mount, become the
container), so its number stays the one we know. A tmpfs covers /var/lib, and volumes are bound below it.
It dies with the kubelet (PR_SET_PDEATHSIG, which children it starts do not inherit: the cgroup finds those).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lab import cgroup, netns
from lab.errors import LabError
from lab.process import Process, identify

LOG_LIMIT_BYTES = 16 << 20  # a log that grew beyond it is begun anew at the next start
KILL_SECONDS = 5.0  # a killed process is gone within milliseconds unless the kernel holds it
_OPTIONS_LENGTH = 3
_ENTER = 'echo $$ >"$1/cgroup.procs"; shift; '
_MOUNT = (
    "mount -t tmpfs -o mode=755 tmpfs /var/lib; "
    'while [ "$1" != -- ]; do mkdir -p "$2"; mount --bind "$1" "$2"; '
    'if [ "$3" = ro ]; then mount -o remount,bind,ro "$2"; fi; '
    f"shift {_OPTIONS_LENGTH}; done; shift; "
)
_BECOME = 'exec "$@"'
_DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")


@dataclass(frozen=True, slots=True)
class Bind:
    source: Path
    target: PurePosixPath
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Launch:
    """All that is needed to start one container."""

    argv: Sequence[str]
    env: Mapping[str, str]
    namespace: str
    cgroup: Path
    binds: Sequence[Bind]
    log: Path


def launch_command(launch: Launch) -> list[str]:
    """The chain that becomes the container. Pure; the environment is passed beside it, never in it."""
    command = ["nsenter", f"--net={netns.path(launch.namespace)}", "--"]
    command += ["unshare", "--mount", "--propagation", "private", "--", *_DIE_WITH_US]
    command += ["sh", "-euc", _ENTER + _MOUNT + _BECOME, "sh", str(launch.cgroup)]
    for bind in sorted(launch.binds, key=lambda each: each.target):  # a parent before what lies in it
        command += [str(bind.source), str(bind.target), "ro" if bind.read_only else "rw"]
    return [*command, "--", *launch.argv]


def exec_command(pid: int, group: Path, argv: Sequence[str]) -> list[str]:
    """The chain that runs `argv` beside process `pid`: same network, same files, same cgroup. Pure."""
    command = [*_DIE_WITH_US, "sh", "-euc", _ENTER + _BECOME, "sh", str(group)]
    return [*command, "nsenter", f"--target={pid}", "--net", "--mount", "--", *argv]


class Running:
    """A started container. Whoever started it stops it."""

    def __init__(self, process: asyncio.subprocess.Process, identity: Process) -> None:
        self.identity = identity
        self._process = process

    async def wait(self) -> int:
        """Its exit status, once it has ended; negative for the signal that killed it."""
        return await self._process.wait()

    async def stop(self, grace_seconds: float) -> None:
        """Ask it to end, insist after `grace_seconds`, and wait until it is gone."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds):
                    await self._process.wait()
        self.kill()
        async with asyncio.timeout(KILL_SECONDS):
            await self._process.wait()

    def kill(self) -> None:
        """SIGKILL it and everything it started in its session."""
        with suppress(ProcessLookupError):
            os.killpg(self.identity.pid, signal.SIGKILL)


async def start(launch: Launch) -> Running:
    """Start a container. Raises LabError when not even the chain can be started."""
    for bind in launch.binds:
        bind.source.mkdir(mode=0o700, parents=True, exist_ok=True)
    cgroup.create(launch.cgroup)
    log = _open_log(launch.log)
    try:
        process = await asyncio.create_subprocess_exec(
            *launch_command(launch),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(launch.env),
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise LabError(f"cannot start a process: {error}") from error
    finally:
        os.close(log)
    # 0 as start time: it ended already, and no later process can be taken for it
    return Running(process, identify(process.pid) or Process(process.pid, 0))


def _open_log(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.unlink()
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
