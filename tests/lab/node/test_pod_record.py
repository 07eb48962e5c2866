"""`lab exec east web` finds the pod that the user means."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import LabError
from lab.node import pod_record
from lab.node.pod_record import ContainerRecord, PodRecord
from lab.paths import LabPaths
from lab.process import Process


def record(name: str, *, cluster: str = "east", namespace: str = "default", ready: bool = True) -> PodRecord:
    containers = (
        ContainerRecord("main", Process(1, 2), 0, "/log"),
        ContainerRecord("side", None, 0, "/log"),
    )
    return PodRecord(
        cluster, "node-1", namespace, name, f"uid-{name}", "10.1.1.2", "ns", "/cg", ready, containers
    )


RECORDS = [
    record("web-5e947def1b-aaaaa", ready=False),
    record("web-5e947def1b-bbbbb"),
    record("website-5e947def1b-ccccc"),
    record("agent-ddddd", namespace="kube-system"),
    record("web-5e947def1b-eeeee", cluster="west"),
]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("web-5e947def1b-aaaaa", "web-5e947def1b-aaaaa"),
        ("web", "web-5e947def1b-bbbbb"),
        ("webs", "website-5e947def1b-ccccc"),
        ("agent", "agent-ddddd"),
        ("kube-system/agent", "agent-ddddd"),
        ("default/web", "web-5e947def1b-bbbbb"),
    ],
)
def test_a_name_an_owner_or_a_beginning_is_enough(text: str, name: str) -> None:
    assert pod_record.choose(RECORDS, "east", text).name == name


@pytest.mark.parametrize("text", ["nobody", "default/agent", "kube-system/web"])
def test_an_unknown_pod_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(LabError, match=r"agent-ddddd|web-"):
        pod_record.choose(RECORDS, "east", text)


def test_the_first_container_is_meant_unless_one_is_named() -> None:
    assert RECORDS[0].container().name == "main"
    assert RECORDS[0].container("side").name == "side"
    with pytest.raises(LabError, match="main, side"):
        RECORDS[0].container("nosuch")


def test_records_survive_a_round_trip_and_half_a_file_is_no_record(tmp_path: Path) -> None:
    paths = LabPaths("demo", tmp_path)
    path = paths.root / "nodes/east-node-1/pods/u/pod.json"
    pod_record.write(path, RECORDS[0])
    assert pod_record.all_of(paths) == [RECORDS[0]]
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(path.read_bytes()[:20])
    assert pod_record.all_of(paths) == []
