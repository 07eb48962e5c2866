from pathlib import Path

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
