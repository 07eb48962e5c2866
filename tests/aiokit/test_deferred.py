"""A deferred module: absent until it is used, then the module itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aiokit.deferred import deferred

ROOT = Path(__file__).parents[2]


def said(code: str) -> list[str]:
    """What a fresh interpreter prints, as words."""
    command = [sys.executable, "-c", f"import sys\nfrom aiokit.deferred import deferred\n{code}"]
    return subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=30
    ).stdout.split()


def test_a_module_is_run_when_something_of_it_is_first_read() -> None:
    there = "print('email.generator' in sys.modules)"
    code = f"m = deferred('mailbox'); {there}; m.Maildir; {there}"
    assert said(code) == ["False", "True"]


def test_whoever_imports_it_otherwise_gets_the_same_module() -> None:
    code = "m = deferred('mailbox')\nfrom mailbox import Error; "
    code += "print(sys.modules['mailbox'] is m, Error is m.Error)"
    assert said(code) == ["True", "True"]


def test_a_module_that_is_there_is_taken_and_an_absent_one_is_said_at_once() -> None:
    assert deferred("subprocess") is subprocess
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        deferred("no_such_module")
