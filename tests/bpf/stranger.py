"""A program that is not ours: it lets every packet go on to whoever comes next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bpf import syscall
from bpf.spec import AttachType, ProgramType

_LOAD = 5
_NEXT = bytes.fromhex("b7000000ffffffff9500000000000000")  # r0 = -1 (TCX_NEXT); exit


@contextmanager
def program() -> Iterator[int]:
    """Its file descriptor."""
    instructions, licence = syscall._buffer(_NEXT), syscall._buffer(b"GPL\0")
    fd = syscall._call(
        _LOAD,
        "IIQQIIQII",
        *(ProgramType.SCHED_CLS, len(_NEXT) // 8, syscall._pointer(instructions), syscall._pointer(licence)),
        *(0, 0, 0, 0, 0),
    )
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def attached(fd: int, ifindex: int, hook: AttachType) -> Iterator[None]:
    """On a device of this thread's network namespace when it is entered; leave from anywhere."""
    link = syscall.link_create(fd, ifindex, hook)
    try:
        yield
    finally:
        os.close(link)
