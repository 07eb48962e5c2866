"""The demo as a stranger runs it: its object, and what it leaves behind, which is nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from e2e.traces import NOTHING, Traces, traces
from lab.paths import LabPaths

DEMO = [sys.executable, "-m", "lab.demo", "-o", "json"]
DOWN = [sys.executable, "-m", "cli", "lab", "--name", "demo", "down"]


@pytest.fixture
def before() -> Traces:
    return traces()


def _left(before: Traces) -> Traces:
    """What is there more, once the kernel has had time: it frees maps a moment after their last pin."""
    deadline = time.monotonic() + 15
    while (left := traces().beyond(before)) != NOTHING and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _interrupted(number: signal.Signals, reached: Path) -> int:
    """Start the demo, wait until it has made `reached`, send it `number`; its exit status."""
    process = subprocess.Popen(
        DEMO, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not reached.exists():
        assert process.poll() is None and time.monotonic() < deadline, f"{reached} did not appear"
        time.sleep(0.05)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # Ctrl-C goes to everything in the foreground
    else:
        process.send_signal(number)
    process.communicate(timeout=90)
    return process.returncode


def test_the_demo_prints_the_promised_object_and_leaves_nothing(before: Traces) -> None:
    started = time.monotonic()
    done = subprocess.run(DEMO, capture_output=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr.decode()
    printed = json.loads(done.stdout)
    assert printed["ok"] is True
    assert printed["clusters"] == ["east", "west"]
    assert {curl["served_by"].split("/")[0] for curl in printed["curls"]} == {"east", "west"}
    assert 0 < printed["propagation_ms"]["p50"] <= printed["propagation_ms"]["p99"]
    assert printed["policy"]["allowed"] and printed["policy"]["denied"]
    assert time.monotonic() - started < 90
    assert _left(before) == NOTHING


@pytest.mark.parametrize("reached", ["lab.json", "clusters/west/ready.json"])
def test_ctrl_c_in_the_middle_leaves_nothing(before: Traces, reached: str) -> None:
    assert _interrupted(signal.SIGINT, LabPaths("demo").root / reached) == 130
    assert _left(before) == NOTHING


def test_lab_down_removes_what_a_killed_demo_left(before: Traces) -> None:
    _interrupted(signal.SIGKILL, LabPaths("demo").root / "clusters/west/ready.json")
    assert traces().beyond(before) != NOTHING
    subprocess.run(DOWN, check=True, timeout=90)
    assert _left(before) == NOTHING
