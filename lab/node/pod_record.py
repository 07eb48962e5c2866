"""What runs where, on disk: written by kubelets, read by `lab exec`, `lab logs`, `lab ps` and clean-up.

So these commands work without the API, and after everything that wrote the records was killed.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from lab import private_file
from lab.errors import LabError
from lab.paths import LabPaths
from lab.process import Process

_DEPLOYMENT_SUFFIXES = 2  # <deployment>-<template hash>-<random>; a DaemonSet's pods have one


class ContainerRecord(Struct, frozen=True):
    name: str
    process: Process | None
    restarts: int
    log: str


class PodRecord(Struct, frozen=True):
    cluster: str
    node: str
    namespace: str
    name: str
    uid: str
    ip: str
    network: str  # its network namespace
    cgroup: str
    is_ready: bool
    containers: tuple[ContainerRecord, ...]

    def container(self, name: str = "") -> ContainerRecord:
        """The one called `name`, or the first. Raises LabError."""
        for each in self.containers:
            if name in ("", each.name):
                return each
        known = ", ".join(each.name for each in self.containers)
        raise LabError(f"pod {self.name} has no container {name}; it has {known}")


def write(path: Path, record: PodRecord) -> None:
    private_file.write(path, msgspec.json.encode(record))


def read(path: Path) -> PodRecord | None:
    """None when it is absent or was cut short by a crash."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=PodRecord)
    except (OSError, msgspec.MsgspecError):
        return None


def all_of(paths: LabPaths) -> list[PodRecord]:
    """Every pod of a lab, ordered by cluster, namespace and name."""
    found = [read(path) for path in (paths.root / "nodes").glob("*/pods/*/pod.json")]
    return sorted(filter(None, found), key=lambda each: (each.cluster, each.namespace, each.name))


def choose(records: list[PodRecord], cluster: str, text: str) -> PodRecord:
    """The pod that `text` ([namespace/]name, a beginning of it, or its owner's name) means.

    Several fit: a ready one, the first by name. Raises LabError when none does.
    """
    namespace, _, name = text.rpartition("/")
    here = [r for r in records if r.cluster == cluster and namespace in ("", r.namespace)]
    for fits in (_is_named, _is_owned_by, _begins):
        if found := [record for record in here if fits(record, name)]:
            return min(found, key=lambda record: (not record.is_ready, record.name))
    known = ", ".join(record.name for record in here) or "none"
    raise LabError(f"cluster {cluster} runs no pod {text}; its pods: {known}")


def _is_named(record: PodRecord, name: str) -> bool:
    return record.name == name


def _is_owned_by(record: PodRecord, name: str) -> bool:
    return any(record.name.rsplit("-", cut)[0] == name for cut in (1, _DEPLOYMENT_SUFFIXES))


def _begins(record: PodRecord, name: str) -> bool:
    return record.name.startswith(name)
