"""Volumes appear whole, change whole, and never outside their directory."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import PodConfigError
from lab.manifest import Volume
from lab.node import volumes

NAMES = st.text("abc.-_", min_size=1, max_size=6).filter(lambda n: not n.startswith(".."))
FILES = st.dictionaries(NAMES.filter(lambda n: n not in {".", ".."}), st.binary(max_size=20), max_size=4)


def volume(**source: object) -> Volume:
    return msgspec.convert({"name": "v", **source}, Volume)


def sources(
    secrets: dict[str, dict[str, bytes]] | None = None, maps: dict[str, dict[str, bytes]] | None = None
) -> volumes.Sources:
    return volumes.Sources((secrets or {}).get, (maps or {}).get)


def visible(directory: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in directory.iterdir() if not f.name.startswith("..")}


@given(st.lists(FILES, max_size=4))
def test_a_directory_shows_exactly_the_last_version(
    tmp_path_factory: pytest.TempPathFactory, versions: list[dict[str, bytes]]
) -> None:
    directory = tmp_path_factory.mktemp("v") / "volume"
    before: dict[str, bytes] | None = None
    for files in versions:
        assert volumes.publish(directory, files) == (files != before)
        assert visible(directory) == files
        assert len(list(directory.glob("..*"))) == 2  # ..data and one version: no litter
        before = files


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    volumes.publish(tmp_path / "v", {"tls.key": b"secret"})
    assert (tmp_path / "v").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "v" / "tls.key").stat().st_mode & 0o777 == 0o600


def test_a_reader_never_sees_half_a_change(tmp_path: Path) -> None:
    directory, stop, torn = tmp_path / "v", threading.Event(), list[tuple[bytes, bytes]]()
    volumes.publish(directory, {"crt": b"0", "key": b"0"})

    def read() -> None:
        while not stop.is_set():
            if not (directory / "..data").is_symlink():
                torn.append((b"there was", b"no version"))
                return
            try:
                version = (directory / "..data").resolve()
                pair = (version / "crt").read_bytes(), (version / "key").read_bytes()
            except FileNotFoundError:
                continue  # replaced while we looked: looking again is what a reader does
            if pair[0] != pair[1]:
                torn.append(pair)

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(200):
        volumes.publish(directory, {"crt": b"%d" % i, "key": b"%d" % i})
    stop.set()
    reader.join(5)
    assert torn == []
    assert visible(directory) == {"crt": b"199", "key": b"199"}


def test_a_projected_volume_joins_its_sources_and_renames_keys() -> None:
    projected = volume(
        projected={
            "sources": [
                {"secret": {"name": "mesh", "optional": True}},
                {"secret": {"name": "remote", "items": [{"key": "tls.crt", "path": "client.crt"}]}},
                {"configMap": {"name": "settings"}},
            ]
        }
    )
    held = sources({"remote": {"tls.crt": b"C", "tls.key": b"K"}}, {"settings": {"a": b"1"}})
    assert volumes.wanted(projected, held) == {"client.crt": b"C", "a": b"1"}
    assert volumes.references(projected) == ({"mesh", "remote"}, {"settings"})


def test_an_absent_object_is_an_error_unless_optional() -> None:
    with pytest.raises(PodConfigError, match="secret ca does not exist"):
        volumes.wanted(volume(secret={"secretName": "ca"}), sources())
    assert volumes.wanted(volume(secret={"secretName": "ca", "optional": True}), sources()) == {}
    with pytest.raises(PodConfigError, match="configmap m has no key k"):
        volumes.wanted(
            volume(configMap={"name": "m", "items": [{"key": "k", "path": "p"}]}), sources(maps={"m": {}})
        )


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", ""])
def test_a_file_cannot_leave_its_volume(path: str) -> None:
    escaping = volume(secret={"secretName": "s", "items": [{"key": "k", "path": path}]})
    with pytest.raises(PodConfigError, match="cannot be at"):
        volumes.wanted(escaping, sources({"s": {"k": b""}}))


def test_host_paths_are_per_node_except_the_kernels(tmp_path: Path) -> None:
    rootfs = tmp_path / "rootfs"
    run = volume(hostPath={"path": "/var/lib/cilium/run"})
    assert volumes.place(run, tmp_path, rootfs) == rootfs / "var/lib/cilium/run"
    assert volumes.place(volume(hostPath={"path": "/sys/fs/bpf"}), tmp_path, rootfs) is None
    assert volumes.place(volume(emptyDir={}), tmp_path, rootfs) == tmp_path / "v"
    with pytest.raises(PodConfigError):
        volumes.place(volume(hostPath={"path": "/a/../../x"}), tmp_path, rootfs)
