"""What is pinned below a BPF root after its agent has gone, and how it goes.

Ours is what has a name of ours in one of the three folders of a version, whichever version of ours made it
and however much of it is left. All else stays, and keeps the folders that it is in.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from pathlib import Path

from bpf import link, syscall
from bpf.errors import AttachError
from bpf.pins import remove_empty
from bpf.programspec import AttachType
from bpf.requirements import bpffs_missing

__all__ = ["Found", "Hook", "bpffs_missing", "find", "is_used_by_others", "remove", "remove_folders"]

LINKS, PROGRAMS, MAPS = "links", "progs", "maps"
_VERSION = re.compile(r"v[0-9]+")
_OURS = {
    LINKS: re.compile(r"cil_\w+-(?:[0-9]+|cgroup)"),
    PROGRAMS: re.compile(r"cil_\w+"),
    MAPS: re.compile(r"cilium_\w+"),
}
_POD_HOOK = re.compile(r"cil_(?:from|to)_container-[0-9]+")
_NOT_FOUND = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class Hook:
    """A program's pinned link. `ifindex`: of its device, 0 for a cgroup and when that has gone."""

    pin: Path
    ifindex: int
    program_id: int

    @property
    def is_pods(self) -> bool:
        return _POD_HOOK.fullmatch(self.pin.name) is not None


@dataclass(frozen=True, slots=True)
class Found:
    hooks: tuple[Hook, ...] = ()
    programs: tuple[Path, ...] = ()
    maps: tuple[Path, ...] = ()
    foreign: tuple[Path, ...] = ()  # in folders of ours


def find(root: Path) -> Found:
    """Changes nothing. An absent root has nothing."""
    found: dict[str, list[Path]] = {LINKS: [], PROGRAMS: [], MAPS: []}
    foreign = []
    for version in _children(root):
        if not _VERSION.fullmatch(version.name):
            foreign.append(version)
            continue
        for folder in _children(version):
            for pin in _children(folder) if folder.name in _OURS else [folder]:
                name = _OURS.get(folder.name)
                (found[folder.name] if name and name.fullmatch(pin.name) else foreign).append(pin)
    return Found(
        hooks=tuple(_hook(pin) for pin in found[LINKS]),
        programs=tuple(found[PROGRAMS]),
        maps=tuple(found[MAPS]),
        foreign=tuple(foreign),
    )


def is_used_by_others(ifindex: int, ours: frozenset[int]) -> bool:
    """Whether a device of this thread's network namespace has programs that are not among `ours` (ids)."""
    hooks = (AttachType.TCX_INGRESS, AttachType.TCX_EGRESS)
    try:
        return any(set(syscall.program_query(ifindex, hook)) - ours for hook in hooks)
    except OSError as error:
        if error.errno == errno.ENODEV:
            return False
        raise


def remove(pin: Path) -> None:
    """A hook is emptied at once, not when the kernel comes to it. Absent is no error."""
    if pin.parent.name == LINKS:
        link.detach_pin(pin)
    pin.unlink(missing_ok=True)


def remove_folders(root: Path) -> None:
    """Those that are empty now."""
    for version in _children(root):
        if _VERSION.fullmatch(version.name):
            for folder in (*(version / name for name in _OURS), version):
                remove_empty(folder)
    remove_empty(root)


def _hook(pin: Path) -> Hook:
    try:
        info = link.read(pin)
    except FileNotFoundError:
        return Hook(pin, 0, 0)
    except OSError as error:
        raise AttachError(f"cannot read {pin}: {error.strerror}") from error
    return Hook(pin, info.target if info.type == syscall.LINK_TCX else 0, info.program_id)


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except _NOT_FOUND:
        return []
