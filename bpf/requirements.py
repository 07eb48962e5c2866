"""What the data path needs of this machine. Looks, and changes nothing."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bpf import syscall
from bpf.programspec import AttachType

# Debian's interpreter: its BCC is a package of the distribution and exists for no other
COMPILER_PYTHON = Path("/usr/bin/python3")
DEFAULT_ROOT = Path("/sys/fs/bpf/clustermesh")

_FIND_TIMEOUT = 10.0  # seconds; starting an interpreter takes a fraction of one
_FIND_BCC = "import importlib.util, sys; sys.exit(importlib.util.find_spec('bcc') is None)"
_HEADERS = Path("/usr/include/linux/bpf.h")
_MOUNTS = Path("/proc/self/mountinfo")
_LOOPBACK = 1


@dataclass(frozen=True, slots=True)
class Mount:
    path: Path
    device: int
    type: str


def mounts() -> list[Mount]:
    """What is mounted, as this process sees it."""
    found = []
    for line in _MOUNTS.read_text().splitlines():
        fields = line.split()
        major, minor = fields[2].split(":")
        kind = fields[fields.index("-") + 1]
        found.append(Mount(Path(fields[4]), os.makedev(int(major), int(minor)), kind))
    return found


def check(root: Path = DEFAULT_ROOT) -> list[str]:
    """Everything that is missing, each a plain sentence; empty if the data path can be loaded."""
    if os.geteuid() != 0:
        return ["the eBPF data path needs root"]  # without it the rest cannot be told
    missing = [_kernel(), bpffs_missing(root), _cgroup2(), _compiler()]
    return [sentence for sentence in missing if sentence]


def _kernel() -> str:
    try:
        syscall.program_query(_LOOPBACK, AttachType.TCX_INGRESS)
    except OSError as error:
        release = os.uname().release
        return f"this kernel ({release}) has no tcx hooks, Linux 6.6 has them: {error.strerror}"
    except NotImplementedError as error:
        return str(error)
    return ""


def bpffs_missing(root: Path) -> str:
    """Why nothing can be pinned below `root`; empty when it can."""
    folder = root
    while not folder.exists():
        folder = folder.parent
    number = folder.stat().st_dev
    if any(mount.type == "bpf" and mount.device == number for mount in mounts()):
        return ""
    return f"{root} is not on a BPF file system: mount -t bpf bpf /sys/fs/bpf"


def _cgroup2() -> str:
    if any(mount.type == "cgroup2" for mount in mounts()):
        return ""
    return "no cgroup v2 hierarchy is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified"


def _compiler() -> str:
    try:
        found = subprocess.run([COMPILER_PYTHON, "-I", "-c", _FIND_BCC], check=False, timeout=_FIND_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{COMPILER_PYTHON} does not run: {error}"
    if found.returncode:
        return "the BPF compiler is missing: apt-get install python3-bpfcc"
    if not _HEADERS.exists():
        return "the C headers are missing: apt-get install linux-libc-dev"
    return ""
