"""Can this machine run eBPF, namespaces and tunnels? Asked before anything is installed or changed.

Standard library only: runs under the system's Python before an environment exists.
Prints one line for the first thing that is missing and exits 1; silent and 0 when all is there.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path

_OLDEST_KERNEL = (6, 6)  # tcx links appeared there
_BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}
_BPF_MAP_CREATE = 0
_BPF_MAP_TYPE_LPM_TRIE = 11
_BPF_F_NO_PREALLOC = 1
_ROOM_BYTES = 2 << 30


def missing(root: Path = Path("/")) -> str | None:
    """The first thing that is missing, as a sentence with the mend; None when nothing is."""
    return _wrong_system() or _no_bpf() or _no_namespaces(root) or _no_cgroup2(root) or _no_room(root)


def without_ipv6(root: Path = Path("/")) -> str | None:
    """Why pods here can have no IPv6 addresses, as a sentence; None when they can. The lab works without."""
    if not (root / "proc/sys/net/ipv6").exists():
        return "the kernel has IPv6 switched off (ipv6.disable=1), or none: the lab's pods have IPv4 only"
    return None


def _wrong_system() -> str | None:
    if platform.system() != "Linux":
        return f"Linux is needed, this is {platform.system()}"
    if os.geteuid() != 0:
        return "root is needed (network namespaces, eBPF): run it again with sudo"
    release = platform.release()
    if parse_release(release) < _OLDEST_KERNEL:
        return f"kernel {release} is too old: 6.6 or newer is needed (tcx); Debian 12 has one in backports"
    return None


def parse_release(release: str) -> tuple[int, ...]:
    """(6, 18) of "6.18.44-amd64"; (0,) of what is no release."""
    numbers = [
        part for part in release.split("-", maxsplit=1)[0].split(".")[:2] if part.isascii() and part.isdigit()
    ]
    return tuple(int(number) for number in numbers) or (0,)


def _no_bpf() -> str | None:
    number = _BPF_SYSCALL.get(platform.machine())
    if number is None:
        return f"no eBPF system call number is known for {platform.machine()}: x86_64 or aarch64 is needed"
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = (ctypes.c_uint32 * 16)(_BPF_MAP_TYPE_LPM_TRIE, 8, 4, 1, _BPF_F_NO_PREALLOC)
    fd = libc.syscall(number, _BPF_MAP_CREATE, attributes, ctypes.sizeof(attributes))
    if fd < 0:
        reason = os.strerror(ctypes.get_errno())
        return f"eBPF does not work here ({reason}): no CONFIG_BPF_SYSCALL, or this container forbids bpf(2)"
    os.close(fd)
    return None


def _no_namespaces(root: Path) -> str | None:
    if not (root / "proc/self/ns/net").exists():
        return "network namespaces are missing: the kernel lacks CONFIG_NET_NS"
    if "bpf" not in _filesystems(root):
        return "the bpf file system is missing: the kernel lacks CONFIG_BPF_SYSCALL"
    return None


def _no_cgroup2(root: Path) -> str | None:
    mounts = [line.split() for line in (root / "proc/mounts").read_text().splitlines()]
    if not any(fields[2] == "cgroup2" for fields in mounts):
        return "cgroup v2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup/unified, then run it again"
    return None


def _no_room(root: Path) -> str | None:
    free = os.statvfs(root).f_bavail * os.statvfs(root).f_frsize
    if free < _ROOM_BYTES:
        return f"the disk has {free >> 20} MiB free: 2 GiB are needed for packages and the environment"
    return None


def _filesystems(root: Path) -> set[str]:
    return {line.split()[-1] for line in (root / "proc/filesystems").read_text().splitlines()}


if __name__ == "__main__":
    reason = missing()
    if reason is not None:
        sys.exit(f"run: {reason}")
