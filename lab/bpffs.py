"""The bpf file system that agents pin their maps in: mounted if it is not, unmounted if it was us.

A mark beside the labs' state says that we mounted it: the last lab to go may then be another one than the
lab that came first. It stays while any lab's directory does: a lab whose agents have not started yet has
nothing pinned, and needs it all the same.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from lab import lock, netns
from lab.plan import BPF_ROOT, STATE_ROOT

_MARK = ".mounted-bpffs"
_FOLDER = "clustermesh"


def is_mounted(mounts: Path = Path("/proc/self/mounts")) -> bool:
    lines = [line.split() for line in mounts.read_text().splitlines()]
    return any(fields[1] == str(BPF_ROOT) and fields[2] == "bpf" for fields in lines)


def mount(state_root: Path = STATE_ROOT) -> None:
    """Call once the lab's own directory stands: that is what keeps another lab's end from undoing it."""
    with lock.held(state_root):
        if not is_mounted():
            (state_root / _MARK).touch(mode=0o600)
            netns.mount("bpf", str(BPF_ROOT), "bpf", 0, "mode=700")


def remove_pins(lab: str) -> int:
    """Unpin everything of a lab, which detaches its programs; how many pins there were."""
    folder = BPF_ROOT / _FOLDER / lab
    if not folder.is_dir():
        return 0
    count = sum(len(files) for _, _, files in os.walk(folder))
    shutil.rmtree(folder)
    with suppress(OSError):  # another lab's pins are in it
        folder.parent.rmdir()
    return count


def unmount(state_root: Path = STATE_ROOT) -> bool:
    """Undo `mount` when there is no lab and nothing pinned any more; whether it was undone."""
    mark = state_root / _MARK
    with suppress(FileNotFoundError), lock.held(state_root):  # gone: another lab's end did it all
        if not mark.exists() or _has_labs(state_root) or _has_pins():
            return False
        if is_mounted():
            netns.unmount(BPF_ROOT)
        mark.unlink()
        return True
    return False


def _has_labs(state_root: Path) -> bool:
    return any(each.is_dir() for each in state_root.iterdir())


def _has_pins() -> bool:
    """The kernel's own two files (maps.debug, progs.debug) are always there."""
    return any(each.suffix != ".debug" for each in BPF_ROOT.iterdir())
