"""Locks and the bpf file system: who may touch a lab, and who unmounts."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lab import bpffs, lock, netns
from lab.errors import LabError


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    with (
        lock.held(tmp_path),
        pytest.raises(LabError, match="another command is at work"),
        lock.held(tmp_path, wait_seconds=0),
    ):
        raise AssertionError("held twice")
    with lock.held(tmp_path, wait_seconds=0):
        pass


def test_who_waits_for_a_lab_that_goes_away_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    folder.mkdir()
    outcome: list[BaseException] = []

    def wait() -> None:
        try:
            with lock.held(folder, wait_seconds=10):
                pass
        except FileNotFoundError as error:
            outcome.append(error)

    waiting = threading.Thread(target=wait)
    with lock.held(folder):
        waiting.start()
        folder.rmdir()
    waiting.join(10)
    assert len(outcome) == 1


@pytest.fixture
def bpf_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "bpf"
    root.mkdir()
    monkeypatch.setattr(bpffs, "BPF_ROOT", root)
    return root


@pytest.fixture
def state_root(tmp_path: Path) -> Path:
    root = tmp_path / "state"
    root.mkdir()
    return root


def test_what_we_mounted_goes_with_the_last_pin(bpf_root: Path, state_root: Path) -> None:
    bpffs.mount(state_root)
    try:
        assert bpffs.is_mounted()
        (bpf_root / "clustermesh/one/east").mkdir(parents=True)
        (bpf_root / "clustermesh/two").mkdir(parents=True)
        bpffs.remove_pins("one")
        assert not bpffs.unmount(state_root)  # two is still there
        bpffs.remove_pins("two")
        assert bpffs.unmount(state_root)
        assert not bpffs.is_mounted()
    finally:
        netns.unmount(bpf_root)


def test_a_lab_that_has_nothing_pinned_yet_keeps_it_mounted(bpf_root: Path, state_root: Path) -> None:
    (state_root / "one").mkdir()
    bpffs.mount(state_root)
    try:
        assert not bpffs.unmount(state_root)  # a lab named two has ended
        assert bpffs.is_mounted()
        (state_root / "one").rmdir()
        assert bpffs.unmount(state_root)
    finally:
        netns.unmount(bpf_root)


def test_what_somebody_else_mounted_stays(bpf_root: Path, state_root: Path) -> None:
    netns.mount("bpf", str(bpf_root), "bpf", 0)
    try:
        bpffs.mount(state_root)
        assert not bpffs.unmount(state_root)
        assert bpffs.is_mounted()
    finally:
        netns.unmount(bpf_root)


def test_absent_pins_are_no_error(bpf_root: Path) -> None:
    assert bpffs.remove_pins("nosuch") == 0
