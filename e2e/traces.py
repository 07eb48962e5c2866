"""Everything on the machine that a lab could leave behind, as one comparable value."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

_OURS = (
    "lab.server",
    "lab.echo",
    "-m agent ",
    "-m clustermesh_apiserver ",
    "127.0.0.1:2378",
    "127.0.0.1:2381",
)


@dataclass(frozen=True)
class Traces:
    namespaces: frozenset[str]
    bpf_objects: tuple[int, int, int]  # maps, programs, links
    pins: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    processes: frozenset[str]
    links: frozenset[str]  # interfaces of the host's own namespace
    state: frozenset[str]

    def beyond(self, before: Traces) -> Traces:
        """What is there that was not. What an earlier test left for the kernel to free may go meanwhile."""
        counts = zip(self.bpf_objects, before.bpf_objects, strict=True)
        maps, programs, links = (max(0, now - then) for now, then in counts)
        return Traces(
            namespaces=self.namespaces - before.namespaces,
            bpf_objects=(maps, programs, links),
            pins=self.pins - before.pins,
            mounts=self.mounts - before.mounts,
            cgroups=self.cgroups - before.cgroups,
            processes=self.processes - before.processes,
            links=self.links - before.links,
            state=self.state - before.state,
        )


NOTHING = Traces(
    *(frozenset[str](), (0, 0, 0), frozenset[str](), frozenset[str](), frozenset[str]()),
    *(frozenset[str](), frozenset[str](), frozenset[str]()),
)


def traces() -> Traces:
    mounts = Path("/proc/mounts").read_text().splitlines()
    cgroup2 = [Path(line.split()[1]) for line in mounts if line.split()[2] == "cgroup2"]
    return Traces(
        namespaces=_names(Path("/run/netns")),
        bpf_objects=(_count("map"), _count("prog"), _count("link")),
        pins=_below(Path("/sys/fs/bpf")),
        mounts=frozenset(" ".join(line.split()[:3]) for line in mounts),
        cgroups=frozenset(path for root in cgroup2 for path in _folders(root / "clustermesh")),
        processes=frozenset(_processes()),
        links=_names(Path("/sys/class/net")),
        state=_below(Path("/run/clustermesh")),
    )


def _names(path: Path) -> frozenset[str]:
    return frozenset(entry.name for entry in path.iterdir()) if path.is_dir() else frozenset()


def _below(path: Path) -> frozenset[str]:
    return frozenset(str(entry) for entry in path.rglob("*"))


def _folders(path: Path) -> set[str]:
    return {str(entry) for entry in path.rglob("*") if entry.is_dir()}


def _count(kind: str) -> int:
    printed = subprocess.run(
        ["bpftool", "-j", kind, "list"], capture_output=True, timeout=30, check=False
    ).stdout
    return len(json.loads(printed or b"[]"))


def _processes() -> set[str]:
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if entry.name.isdigit() and any(word in line for word in _OURS):
            found.add(f"{entry.name} {line}")
    return found
