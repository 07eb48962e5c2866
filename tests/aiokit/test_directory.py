import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiokit.directory import MAX_FILE_BYTES, changes, read


async def test_a_swapped_symlink_is_one_change(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    following = changes(mount, interval=0.005)
    assert await anext(following) == {}
    mount.mkdir()
    for version in ("one", "two"):
        data = tmp_path / version
        data.mkdir()
        (data / "west").write_text(version)
        link = mount / "link"
        link.symlink_to(data / "west")
        link.rename(mount / "west")
        assert await anext(following) == {"west": version.encode()}
    await following.aclose()


def test_hidden_names_directories_and_huge_files_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "huge").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "west").write_bytes(b"endpoints:")
    assert read(tmp_path) == {"west": b"endpoints:"}


async def test_what_cannot_be_read_at_the_moment_is_not_taken_for_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken: set[str] = set()
    read_bytes, iterdir = Path.read_bytes, Path.iterdir

    def failing_read(path: Path) -> bytes:
        if path.name in broken:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return read_bytes(path)

    def failing_iterdir(path: Path) -> Iterator[Path]:
        if "directory" in broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return iterdir(path)

    monkeypatch.setattr(Path, "read_bytes", failing_read)
    monkeypatch.setattr(Path, "iterdir", failing_iterdir)
    for name in ("west", "north"):
        (tmp_path / name).write_text(name)
    following = changes(tmp_path, interval=0.005)
    assert await anext(following) == {"west": b"west", "north": b"north"}
    broken.add("west")
    (tmp_path / "north").unlink()
    assert await anext(following) == {"west": b"west"}
    broken.add("directory")
    (tmp_path / "west").write_text("changed")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await anext(following)
    assert any("Input/output error" in record.getMessage() for record in caplog.records)
    assert len(caplog.records) == 2  # each complaint once
