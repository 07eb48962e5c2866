"""The kernel's verifier gives up on a program after a million instructions: there is room for changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bpf import syscall
from bpf.pins import Pins
from bpf.programspec import PROGRAMS, ProgramSpec

pytestmark = pytest.mark.root

MOST = 700_000  # seven tenths of what the kernel allows: another version of it may count a little more


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_the_verifier_comes_nowhere_near_its_end(loaded_root: Path, program: ProgramSpec) -> None:
    handle = syscall.obj_get(Pins(loaded_root).program(program))
    try:
        followed = syscall.program_info(handle).verified
    finally:
        os.close(handle)
    assert 0 < followed < MOST
