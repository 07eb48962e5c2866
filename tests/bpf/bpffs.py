"""A BPF file system of our own: what tests pin is seen by nobody else."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "bpf", "bpf", folder], check=True)
    try:
        yield folder
    finally:
        # lazily: a failing test may still have a file open
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


def pins(folder: Path) -> list[str]:
    """Every pin below, relative; what the kernel puts there by itself excepted."""
    found = [Path(top, name).relative_to(folder) for top, _, names in os.walk(folder) for name in names]
    return sorted(str(path) for path in found if path.suffix != ".debug")
