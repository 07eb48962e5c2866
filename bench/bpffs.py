"""A BPF file system of our own: what benchmarks and tests pin is seen by nobody else, and goes with it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """As root. Unmounting takes all pins, and with them the maps, once nobody has them open."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "bpf", "bpf", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()
