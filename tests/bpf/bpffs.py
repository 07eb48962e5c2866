"""What tests pin, in a BPF file system of their own."""

from __future__ import annotations

import os
from pathlib import Path

from bench.bpffs import mounted

__all__ = ["mounted", "pins"]


def pins(folder: Path) -> list[str]:
    """Every pin below, relative; what the kernel puts there by itself excepted."""
    found = [Path(top, name).relative_to(folder) for top, _, names in os.walk(folder) for name in names]
    return sorted(str(path) for path in found if path.suffix != ".debug")
