"""A pod's volumes as directories on disk.

Secrets, ConfigMaps and projected volumes are replaced as a whole, as a real kubelet does: files lie in a
timed directory, `..data` is a symlink to it that is renamed into place, so a reader sees all of the old
version or all of the new one. What a volume shall hold is decided in `wanted` (pure); `publish` writes it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lab.errors import PodConfigError
from lab.manifest import KeyToPath, ProjectedVolume, Volume

DIRECTORY_MODE = 0o700
SECRET_MODE = 0o600
_DATA = "..data"
_SEES_HOST = (PurePosixPath("/sys"), PurePosixPath("/proc"), PurePosixPath("/dev"))


@dataclass(frozen=True, slots=True)
class Sources:
    """What the cluster holds: None for an object that does not exist."""

    secret: Callable[[str], Mapping[str, bytes] | None]
    config_map: Callable[[str], Mapping[str, bytes] | None]


Files = Mapping[str, bytes]


def references(volume: Volume) -> tuple[frozenset[str], frozenset[str]]:
    """The names of the Secrets and of the ConfigMaps that `volume` reads."""
    found_secrets, found_maps = set(), set()
    if volume.secret:
        found_secrets.add(volume.secret.secretName)
    if volume.configMap:
        found_maps.add(volume.configMap.name)
    for source in volume.projected.sources if volume.projected else ():
        if source.secret:
            found_secrets.add(source.secret.name)
        if source.configMap:
            found_maps.add(source.configMap.name)
    return frozenset(found_secrets), frozenset(found_maps)


def wanted(volume: Volume, sources: Sources) -> Files | None:
    """The files `volume` shall hold; None when it is no volume of files. Raises PodConfigError."""
    if volume.secret:
        source = volume.secret
        data = sources.secret(source.secretName)
        return _select("secret", source.secretName, data, source.items, source.optional)
    if volume.configMap:
        named = volume.configMap
        data = sources.config_map(named.name)
        return _select("configmap", named.name, data, named.items, named.optional)
    if volume.projected:
        return _projected(volume.projected, sources)
    return None


def _projected(volume: ProjectedVolume, sources: Sources) -> Files:
    files: dict[str, bytes] = {}
    for source in volume.sources:
        for kind, part, read in (
            ("secret", source.secret, sources.secret),
            ("configmap", source.configMap, sources.config_map),
        ):
            if part:
                files |= _select(kind, part.name, read(part.name), part.items, part.optional)
    return files


def _select(
    kind: str, name: str, data: Mapping[str, bytes] | None, items: Iterable[KeyToPath] | None, optional: bool
) -> dict[str, bytes]:
    if data is None:
        if optional:
            return {}
        raise PodConfigError(f"{kind} {name} does not exist")
    if items is None:
        return dict(data)
    files = {}
    for item in items:
        if item.key in data:
            files[_inside(item.path)] = data[item.key]
        elif not optional:
            raise PodConfigError(f"{kind} {name} has no key {item.key}")
    return files


def _inside(path: str) -> str:
    if not path or path.startswith(("/", "..")) or ".." in PurePosixPath(path).parts:
        raise PodConfigError(f"a volume's file cannot be at {path!r}")
    return path


def publish(directory: Path, files: Files) -> bool:
    """Make `directory` show exactly `files`, all at once; whether anything changed."""
    directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    if _shown(directory) == dict(files):
        return False
    version = directory / f"..{secrets.token_hex(8)}"
    version.mkdir(mode=DIRECTORY_MODE)
    for name, content in files.items():
        _write(version / name, content)
    old = _current(directory)
    staged = directory / "..data_tmp"
    staged.unlink(missing_ok=True)
    staged.symlink_to(version.name)
    staged.rename(directory / _DATA)
    _link_names(directory, {PurePosixPath(name).parts[0] for name in files})
    for stale in directory.glob("..*"):
        if stale.is_dir() and not stale.is_symlink() and stale != version:
            shutil.rmtree(stale)
    return old != version


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_MODE), "wb") as file:
        file.write(content)


def _link_names(directory: Path, names: set[str]) -> None:
    """The visible names: symlinks through `..data`, so that they need not change with the content."""
    present = {each.name for each in directory.iterdir() if not each.name.startswith("..")}
    for name in present - names:
        (directory / name).unlink()
    for name in names - present:
        (directory / name).symlink_to(f"{_DATA}/{name}")


def _current(directory: Path) -> Path | None:
    link = directory / _DATA
    return directory / link.readlink() if link.is_symlink() else None


def _shown(directory: Path) -> dict[str, bytes] | None:
    version = _current(directory)
    if version is None or not version.is_dir():
        return None
    return {str(f.relative_to(version)): f.read_bytes() for f in version.rglob("*") if f.is_file()}


def place(volume: Volume, volumes: Path, rootfs: Path) -> Path | None:
    """The directory behind `volume`; None for paths that every process sees anyway. Pure.

    Nodes share one kernel, so /sys, /proc and /dev are the machine's own; other host paths are per node.
    """
    if volume.hostPath is None:
        return volumes / volume.name
    path = PurePosixPath(volume.hostPath.path)
    if not path.is_absolute() or ".." in path.parts:
        raise PodConfigError(f"volume {volume.name}: host path {path} is not absolute")
    if any(path == seen or seen in path.parents for seen in _SEES_HOST):
        return None
    return rootfs / path.relative_to("/")
