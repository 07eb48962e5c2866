"""A tc program on one packet, as often as wanted, by BPF_PROG_TEST_RUN: no device, no traffic."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bpf import syscall
from bpf.programspec import ProgramType

_LOAD, _TEST_RUN = 5, 10
_NEXT = bytes.fromhex("b7000000ffffffff9500000000000000")  # r0 = -1 (TCX_NEXT); exit
_RUN = struct.Struct("=IIIIQQII")  # program, verdict, sizes in and out, data in and out, repeat, duration
_ROOM = 256  # that a program may put before a packet


@dataclass(frozen=True, slots=True)
class Outcome:
    """`left`: the packet afterwards; `nanoseconds`: of one run, in whole ones, the mean of all."""

    verdict: int
    left: bytes
    nanoseconds: int


def run(program: int, packet: bytes, repeat: int = 1) -> Outcome:
    """`program`: a file descriptor. The kernel says that the packet is at `lo` of this network namespace."""
    given = ctypes.create_string_buffer(packet, len(packet))
    left = ctypes.create_string_buffer(len(packet) + _ROOM)
    data = (len(packet), len(left), ctypes.addressof(given), ctypes.addressof(left))
    attributes = ctypes.create_string_buffer(_RUN.pack(program, 0, *data, repeat, 0), _RUN.size)
    syscall._bpf(_TEST_RUN, attributes)
    _, verdict, _, length, _, _, _, nanoseconds = _RUN.unpack(attributes.raw)
    return Outcome(verdict, left.raw[:length], nanoseconds)


@contextmanager
def nothing() -> Iterator[int]:
    """The file descriptor of a program that lets every packet go on to whoever comes next."""
    instructions, licence = syscall._buffer(_NEXT), syscall._buffer(b"GPL\0")
    pointers = (syscall._pointer(instructions), syscall._pointer(licence))
    words = (ProgramType.SCHED_CLS, len(_NEXT) // 8, *pointers, 0, 0, 0, 0, 0)
    program = syscall._call(_LOAD, "IIQQIIQII", *words)
    try:
        yield program
    finally:
        os.close(program)
