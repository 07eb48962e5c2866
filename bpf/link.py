"""A program on its hook, held there by a pinned link.

Promises: attaching is idempotent and never leaves the hook empty: a link that stands
gets its program replaced in place (BPF_LINK_UPDATE). A pinned link outlives us; a link
whose device or cgroup has gone is replaced.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bpf import syscall
from bpf.errors import AttachError, NotLoadedError
from bpf.pins import Pins
from bpf.programspec import AttachType, ProgramSpec
from bpf.syscall import LinkInfo


@dataclass(frozen=True, slots=True)
class Target:
    """What a program hangs on: `name` in the pin, `handle` to attach, `id` as the kernel reports it."""

    name: str
    handle: int
    id: int


def device(ifindex: int) -> Target:
    """A network device of this thread's network namespace."""
    return Target(str(ifindex), ifindex, ifindex)


@contextmanager
def cgroup(path: Path) -> Iterator[Target]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise AttachError(f"cannot open the cgroup {path}: {error.strerror}") from error
    try:
        yield Target("cgroup", fd, os.fstat(fd).st_ino)  # a cgroup's id is its inode number
    finally:
        os.close(fd)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = syscall.obj_get(path)
    try:
        yield fd
    finally:
        os.close(fd)


def attach(pins: Pins, program: ProgramSpec, target: Target) -> None:
    pin = pins.link(program, target.name)
    try:
        with _opened(pins.program(program)) as program_fd:
            if not _reuse(pin, program_fd, program.attach, target):
                _create(pin, program_fd, program.attach, target)
    except FileNotFoundError:
        raise NotLoadedError(f"no program is pinned at {pins.program(program)}") from None
    except OSError as error:
        raise AttachError(f"cannot attach {program.name} to {target.name}: {error.strerror}") from error


def _reuse(pin: Path, program_fd: int, attach_type: AttachType, target: Target) -> bool:
    try:
        with _opened(pin) as link_fd:
            info = syscall.link_info(link_fd)
            if (info.target, info.attach_type) == (target.id, attach_type):
                if info.program_id != syscall.program_info(program_fd).id:
                    syscall.link_update(link_fd, program_fd)
                return True
    except FileNotFoundError:
        return False
    pin.unlink()  # its device or cgroup has gone, and another has the name now
    return False


def _create(pin: Path, program_fd: int, attach_type: AttachType, target: Target) -> None:
    link_fd = syscall.link_create(program_fd, target.handle, attach_type)
    try:
        syscall.obj_pin(link_fd, pin)
    finally:
        os.close(link_fd)


def detach(pins: Pins, program: ProgramSpec, target_name: str) -> None:
    """Nothing attached is no error."""
    detach_pin(pins.link(program, target_name))


def detach_pin(pin: Path) -> None:
    """Take what is pinned here off its hook, and the pin away. Absent is no error."""
    try:
        with _opened(pin) as link_fd:
            syscall.link_detach(link_fd)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ENOLINK:  # its device has gone: there is nothing to be taken off
            raise AttachError(f"cannot take {pin.name} off its hook: {error.strerror}") from error
    pin.unlink(missing_ok=True)


def replace_program(pins: Pins, program: ProgramSpec) -> None:
    """Put the pinned program on every hook that runs an older one."""
    with _opened(pins.program(program)) as program_fd:
        for pin in pins.links_of(program):
            with _opened(pin) as link_fd:
                try:
                    syscall.link_update(link_fd, program_fd)
                    continue
                except OSError as error:
                    if error.errno != errno.ENOLINK:
                        raise AttachError(f"cannot update {pin}: {error.strerror}") from error
            pin.unlink()  # its device or cgroup has gone


def read(pin: Path) -> LinkInfo:
    with _opened(pin) as fd:
        return syscall.link_info(fd)
