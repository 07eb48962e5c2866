"""What is missing is said in plain sentences."""

from pathlib import Path

import pytest

from bpf import requirements, syscall


def test_a_machine_that_has_everything_lacks_nothing(bpffs: Path) -> None:
    assert requirements.check(bpffs / "some/where") == []


def test_each_thing_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> list[int]:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(syscall, "program_query", refuse)
    monkeypatch.setattr(requirements, "mounts", list)
    monkeypatch.setattr(requirements, "COMPILER_PYTHON", Path("/bin/false"))
    sentences = requirements.check(tmp_path)
    assert [
        words
        for sentence in sentences
        for words in ("tcx", "BPF file system", "cgroup v2", "python3-bpfcc")
        if words in sentence
    ] == [*("tcx", "BPF file system", "cgroup v2", "python3-bpfcc")]


def test_without_root_only_root_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert requirements.check(tmp_path) == ["the eBPF data path needs root"]


def test_an_interpreter_that_does_not_run_is_named(
    monkeypatch: pytest.MonkeyPatch, bpffs: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(requirements, "COMPILER_PYTHON", tmp_path / "python3")
    (sentence,) = requirements.check(bpffs)
    assert "does not run" in sentence
