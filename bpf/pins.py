"""Where things are pinned below a BPF root, and what stands there.

`<root>/<schema version>/{maps,progs,links}/<name>`. The version in the path keeps
a newer layout from ever meeting an older pin.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from bpf.programspec import ProgramSpec
from bpf.spec import SCHEMA_VERSION, MapSpec


@dataclass(frozen=True, slots=True)
class Pins:
    root: Path

    @property
    def version(self) -> Path:
        return self.root / SCHEMA_VERSION

    @property
    def maps(self) -> Path:
        return self.version / "maps"

    @property
    def programs(self) -> Path:
        return self.version / "progs"

    @property
    def links(self) -> Path:
        return self.version / "links"

    def map(self, spec: MapSpec) -> Path:
        return self.maps / spec.name

    def program(self, spec: ProgramSpec) -> Path:
        return self.programs / spec.name

    def link(self, spec: ProgramSpec, target: str) -> Path:
        """`target` says what it hangs on: an ifindex, or "cgroup"."""
        return self.links / f"{spec.name}-{target}"

    def links_of(self, spec: ProgramSpec) -> list[Path]:
        """Every pinned link of a program."""
        names = _names(self.links)
        return [self.links / name for name in names if name.rpartition("-")[0] == spec.name]

    def remove_all(self) -> None:
        """Links first: no hook may run while its maps go."""
        for folder in (self.links, self.programs, self.maps):
            for name in _names(folder):
                (folder / name).unlink(missing_ok=True)
            remove_empty(folder)
        remove_empty(self.version)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 (names, not paths)
    except FileNotFoundError:
        return []


def remove_empty(folder: Path) -> None:
    """If it is ours alone to remove, and empty."""
    try:
        folder.rmdir()
    except OSError:
        return  # absent, or somebody else's pins are in it
