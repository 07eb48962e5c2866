"""`lab down`: removes whatever is left of a lab, by name: processes, namespaces, pins, cgroups, files.

Needs no record: a lab of which everything was killed, or half was made, goes as well. Doing it again is
no error. It ends processes by their cgroup, and servers also by recorded number and start time.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab import bpffs, cgroup, lock, network, plan, record
from lab.errors import LabError
from lab.paths import LabPaths
from lab.process import Process

END_SECONDS = 5.0
_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Removed:
    """How much was there."""

    processes: int
    namespaces: int
    pins: int

    @property
    def anything(self) -> bool:
        return bool(self.processes or self.namespaces or self.pins)


def down(lab: str) -> Removed:
    """Remove a lab. Raises LabError when something does not let itself be removed."""
    paths = LabPaths(plan.check_lab_name(lab))
    try:
        with lock.held(paths.root):
            return tear_down(paths)
    except FileNotFoundError:  # no files: there may still be the rest
        return tear_down(paths)


def tear_down(paths: LabPaths) -> Removed:
    """Remove everything; the caller holds the lock."""
    removed = clear(paths)
    _remove_empty(plan.cgroup(cgroup.root(), paths.lab).parent)
    shutil.rmtree(paths.root, ignore_errors=True)
    if paths.root.exists():
        raise LabError(f"cannot remove {paths.root}")
    if paths.state_root.is_dir():
        bpffs.unmount(paths.state_root)
        _remove_empty(paths.state_root)
    return removed


def clear(paths: LabPaths) -> Removed:
    """Remove everything but the lab's own directory, which carries the caller's lock."""
    group = plan.cgroup(cgroup.root(), paths.lab)
    found = {*cgroup.members(group), *(each.pid for each in servers(paths))}
    _end_servers(paths)
    cgroup.remove(group)
    pins = bpffs.remove_pins(paths.lab)  # after its users: nobody pins anew
    namespaces = network.tear_down(paths.lab)
    for each in paths.root.glob("*"):
        try:
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}"
            raise LabError(f"cannot remove all of {each}: {reason} (is something mounted there?)") from error
    return Removed(len(found), len(namespaces), pins)


def servers(paths: LabPaths) -> list[Process]:
    """The lab's servers that live."""
    folders = (paths.root / "clusters").glob("*/")
    found = [record.read_server(paths, folder.name) for folder in folders]
    return [each.process for each in found if each and each.process.is_alive]


def _end_servers(paths: LabPaths) -> None:
    """At once: all that they would tidy up goes as a whole."""
    alive = servers(paths)
    for each in alive:
        each.send(signal.SIGKILL)
    deadline = time.monotonic() + END_SECONDS
    while any(each.is_alive for each in alive):
        if time.monotonic() > deadline:
            raise LabError("a server does not end")
        _reap()
        time.sleep(_POLL_SECONDS)


def _reap() -> None:
    """Bury children of ours, if a server is one (`lab up` undoing itself)."""
    with suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def _remove_empty(path: Path) -> None:
    with suppress(OSError):  # not empty: another lab's
        path.rmdir()
