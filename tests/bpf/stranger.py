"""A program that is not ours: it lets every packet go on to whoever comes next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bench.testrun import nothing as program
from bpf import syscall
from bpf.programspec import AttachType

__all__ = ["attached", "program"]


@contextmanager
def attached(fd: int, ifindex: int, hook: AttachType) -> Iterator[None]:
    """On a device of this thread's network namespace when it is entered; leave from anywhere."""
    link = syscall.link_create(fd, ifindex, hook)
    try:
        yield
    finally:
        os.close(link)
