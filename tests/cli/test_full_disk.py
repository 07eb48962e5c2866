"""A disk without room under what a command writes: one line, and what was there stays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from certs.issue import Authority
from cli import wholefile
from cli.__main__ import main
from cli.certs import root
from cli.errors import CommandError

ROOM = 64 << 10


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few pages."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM},nr_inodes=64", "tmpfs", tmp_path], check=True, timeout=10
    )
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", tmp_path], check=True, timeout=10)


def fill(directory: Path, leave: int = 0) -> None:
    """All of it but `leave` bytes, in whole pages."""
    with (directory / "filler").open("wb", buffering=0) as file:
        for _ in range((ROOM - leave) // 4096):
            try:
                file.write(bytes(4096))
            except OSError:
                return


def test_a_file_that_finds_no_room_leaves_the_old_one_and_nothing_else(small: Path) -> None:
    wholefile.write(small / "bundle", b"old")
    fill(small)
    with pytest.raises(CommandError, match=r"/bundle: No space left on device"):
        wholefile.write(small / "bundle", bytes(9000))
    assert (small / "bundle").read_bytes() == b"old"
    assert {path.name for path in small.iterdir()} == {"bundle", "filler"}


def test_what_must_be_new_replaces_nothing(tmp_path: Path) -> None:
    wholefile.create(tmp_path / "key", b"first", 0o600)
    with pytest.raises(CommandError, match="File exists"):
        wholefile.create(tmp_path / "key", b"second", 0o600)
    assert (tmp_path / "key").read_bytes() == b"first"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("pages", [0, 1], ids=["no room", "room for the key alone"])
def test_a_root_that_finds_no_room_is_not_in_the_way_of_the_next(small: Path, pages: int) -> None:
    (small / "root").mkdir()
    fill(small, leave=4096 * pages)
    failed = CliRunner().invoke(main, ["certs", "root", str(small / "root")])
    assert failed.exit_code == 1
    assert failed.output.endswith("No space left on device\n")
    assert failed.output.startswith("error: ")
    (small / "filler").unlink()
    made = CliRunner().invoke(main, ["certs", "root", str(small / "root")])
    assert made.exit_code == 0, made.output
    assert isinstance(root.load(small / "root"), Authority)


@pytest.mark.parametrize("words", [["checks", "list"], ["checks", "list", "-o", "json"], ["--help"]])
def test_output_that_cannot_be_written_is_one_line(words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cli", *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30
        )
    assert done.returncode == 1
    assert done.stderr == "error: the output cannot be written: No space left on device\n"
