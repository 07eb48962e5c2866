"""The lab's cgroups: where its processes are found and ended, whoever their parents were.

Membership survives forks, sessions and the death of the lab's own programs, which pid files do not.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from lab.errors import LabError

_GONE_SECONDS = 10.0  # killed processes leave within milliseconds unless the kernel holds them
_POLL_SECONDS = 0.01


def root(mounts: Path = Path("/proc/mounts")) -> Path:
    """Where cgroup v2 is mounted: alone on modern systems, beside the old one on hybrid ones."""
    for line in mounts.read_text().splitlines():
        _, target, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(target)
    raise LabError("cgroup v2 is not mounted")


def create(path: Path) -> None:
    path.mkdir(mode=0o755, parents=True, exist_ok=True)


def join(path: Path, pid: int = 0) -> None:
    """Move a process (0: the caller) and what it will start into `path`."""
    (path / "cgroup.procs").write_text(str(pid))


def members(path: Path) -> list[int]:
    """Every process in `path` and below; zombies are not in it."""
    found = []
    for each in _tree(path):
        with suppress(OSError):  # removed between the walk and the read
            found += [int(pid) for pid in (each / "cgroup.procs").read_text().split()]
    return found


def kill(path: Path) -> int:
    """SIGKILL everything in `path` and below, and wait for its end; how many there were."""
    ended = set()
    deadline = time.monotonic() + _GONE_SECONDS
    while pids := members(path):
        if time.monotonic() > deadline:
            raise LabError(f"processes do not end: {' '.join(map(str, pids))}")
        ended.update(pids)
        _kill_now(path, pids)
        time.sleep(_POLL_SECONDS)
    return len(ended)


def remove(path: Path) -> int:
    """End what is in `path` and remove it with everything below; absent is no error."""
    if not path.is_dir():
        return 0
    ended = kill(path)
    for each in _tree(path):
        _rmdir(each)
    return ended


def _kill_now(path: Path, pids: list[int]) -> None:
    try:
        (path / "cgroup.kill").write_text("1")  # atomic: no fork escapes it
    except OSError:  # before Linux 5.14
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _rmdir(path: Path) -> None:
    deadline = time.monotonic() + _GONE_SECONDS
    while True:
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:  # EBUSY until the kernel has buried the last process
            if time.monotonic() > deadline:
                raise LabError(f"cannot remove {path}: {error.strerror}") from error
            time.sleep(_POLL_SECONDS)


def _tree(path: Path) -> list[Path]:
    """`path` and the cgroups below it, the deepest first."""
    return [Path(folder) for folder, _, _ in os.walk(path, topdown=False)]
