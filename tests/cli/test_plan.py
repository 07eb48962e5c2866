"""`mesh.yaml`: what it may say, what would change, and that applying it twice changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from cli import meshfile
from cli.errors import CommandError
from k8s.resource import CONFIGMAP, SECRET
from mesh.keys import Kind
from peering.rules import parse_see
from tests.cli.conftest import Clusters
from tests.cli.test_connect import known

EAST = {"name": "east", "id": 1, "context": "east"}
WEST = {"name": "west", "id": 2, "context": "west"}


def text(*clusters: dict[str, object], **more: object) -> bytes:
    return yaml.safe_dump({"kind": "Mesh", "version": 1, "clusters": list(clusters), **more}).encode()


def test_by_default_everybody_reads_everybody() -> None:
    north: dict[str, object] = {"name": "north", "id": 3, "bundle": "north.yaml"}
    mesh = meshfile.parse(text(EAST, WEST, north), "mesh.yaml")
    assert mesh.reads == {"east": ("west", "north"), "west": ("east", "north")}
    assert meshfile.parse(text(EAST, WEST, reads={"east": ["west"]}), "f").reads == {
        "east": ("west",),
        "west": (),
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"kind: [", "mesh.yaml: "),
        (b"kind: Mesh\nversion: 1\nkind: Mesh", "mesh.yaml: line 3: .kind. is there twice, first in line 1"),
        (text(EAST, WEST, colour="red"), "unknown field `colour`"),
        (text(EAST | {"port": 1}), r"unknown field `port`.*clusters\[0\]"),
        (text(EAST | {"endpoints": [{"ip": "east.example"}]}), "endpoint 'east.example' is not an IP"),
        (text(), "length >= 1"),
        (text(EAST | {"id": 0}), ">= 1"),
        (text(EAST, EAST | {"id": 2}), "east is there twice"),
        (text(EAST, WEST | {"id": 1}), "east and west both have the id 1"),
        (text(EAST | {"name": "No Name"}), "No Name"),
        (text(EAST | {"bundle": "b"}), "a context or a bundle, and not both"),
        (text({"name": "east", "id": 1}), "a context or a bundle"),
        (text(EAST, reads={"east": ["south"]}), "south is not among the clusters"),
        (text(EAST, reads={"east": ["east"]}), "cannot read itself"),
        (text(EAST, {"name": "n", "id": 3, "bundle": "b"}, reads={"n": ["east"]}), "n has no context"),
        (b"kind: Mesh\nversion: 2\nclusters: [{name: a, id: 1, context: a}]", "version 2"),
        (b"#" * (meshfile.MAX_BYTES + 1), "larger than"),
    ],
)
def test_what_a_mesh_file_may_not_say(content: bytes, reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        meshfile.parse(content, "mesh.yaml")


RULES = {
    "west": {"see": ["nodes", "ip"], "claim": {"addresses": ["10.2.0.0/16"], "addressCheck": "enforce"}},
    "*": {"see": ["nodes"]},
}


@pytest.mark.parametrize(
    ("peers", "reason"),
    [
        ({"south": {}}, "peer 'south' is not another one"),
        ({"east": {}}, "peer 'east' is not another one"),
        ({"west": {"see": ["pods"]}}, "'pods'"),
        (
            {"west": {"claim": {"addresses": ["10.2.0.1/16"]}}},
            "peer west: addresses: .*host bits",
        ),
        ({"*": {"claim": {}}}, "not for claims"),
        ({"west": {"may": []}}, "unknown field `may`"),
    ],
)
def test_what_may_not_be_said_of_peers(peers: dict[str, object], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        meshfile.parse(text(EAST | {"peers": peers}, WEST), "mesh.yaml")


async def rules(clusters: Clusters) -> dict[str, str]:
    found = await clusters.get("east", CONFIGMAP, "clustermesh-peers")
    assert found is not None
    data: dict[str, str] = found["data"]
    return data


async def test_what_peers_may_is_planned_applied_once_and_taken_back(
    clusters: Clusters, tmp_path: Path
) -> None:
    await clusters.enable()
    file = written(tmp_path, text(EAST | {"peers": RULES}, WEST))
    plan = await clusters.run("plan", "-f", file, "--manifests", str(tmp_path / "out"))
    assert plan.stdout.splitlines()[:3] == [
        "east: whoever is not named may see nodes",
        "east: west may see nodes, ip",
        "east: west may claim addresses 10.2.0.0/16; addressCheck enforce",
    ]
    assert (await clusters.run("apply", "-f", file)).exit_code == 0
    assert parse_see((await rules(clusters))["see.yaml"].encode()).peers["west"] == {Kind.NODES, Kind.IPS}
    manifests = list(yaml.safe_load_all((tmp_path / "out" / "east.yaml").read_text()))
    assert await rules(clusters) == next(each["data"] for each in manifests if each["kind"] == "ConfigMap")
    assert (await clusters.run("plan", "-f", file)).exit_code == 0
    written(tmp_path, text(EAST, WEST))
    back = await clusters.run("apply", "-f", file)
    assert back.stderr.splitlines() == [
        "east: whoever is not named may see everything",
        "east: west may see what others may",
        "east: west may claim all that is its own",
    ]
    assert (await clusters.run("plan", "-f", file)).exit_code == 0


async def test_rules_that_cannot_be_read_are_written_anew(clusters: Clusters, tmp_path: Path) -> None:
    await clusters.enable()
    body = {"metadata": {"name": "clustermesh-peers", "namespace": "kube-system"}, "data": {"see.yaml": "["}}
    await clusters.client("east").apply(CONFIGMAP, body)
    file = written(tmp_path, text(EAST, WEST))
    assert "not readable there" in (await clusters.run("plan", "-f", file)).stdout
    assert (await clusters.run("apply", "-f", file)).exit_code == 0
    assert (await clusters.run("plan", "-f", file)).exit_code == 0


def written(folder: Path, content: bytes) -> str:
    (folder / "mesh.yaml").write_bytes(content)
    return str(folder / "mesh.yaml")


async def test_apply_does_what_plan_says_and_connect_would_and_does_it_once(
    clusters: Clusters, tmp_path: Path
) -> None:
    await clusters.enable(share=False)
    file = written(tmp_path, text(EAST, WEST, shareAuthorities=True))
    before = await clusters.everything()
    plan = await clusters.run("plan", "-f", file, "-o", "json")
    assert plan.exit_code == 2, plan.output
    assert [(each["cluster"], each["action"], each["peer"]) for each in json.loads(plan.stdout)] == [
        ("east", "accept", "west"),
        ("west", "accept", "east"),
        ("east", "add", "west"),
        ("west", "add", "east"),
    ]
    assert await clusters.everything() == before
    assert (await clusters.run("apply", "-f", file)).exit_code == 0
    after = await clusters.everything()
    assert (await clusters.run("plan", "-f", file)).exit_code == 0
    again = await clusters.run("apply", "-f", file)
    assert (again.exit_code, again.stderr) == (0, "nothing to change\n")
    connect = ("connect", "--context", "east", "--destination-context", "west", "--allow-mismatching-ca")
    assert (await clusters.run(*connect)).exit_code == 0
    assert await clusters.everything() == after


async def test_the_file_is_the_whole_truth(clusters: Clusters, tmp_path: Path) -> None:
    await clusters.enable()
    await clusters.run("connect", "--context", "east", "--destination-context", "west")
    moved = EAST | {"endpoints": [{"ip": "198.51.100.9", "port": 32379}]}
    file = written(tmp_path, text(moved, WEST, reads={"west": ["east"]}))
    plan = await clusters.run("plan", "-f", file)
    assert plan.stdout.splitlines() == [
        "west: know east otherwise: at 198.51.100.9:32379",
        "east: forget west",
    ]
    done = await clusters.run("apply", "-f", file)
    assert done.exit_code == 0, done.output
    assert await known(clusters, "east") == await known(clusters, "east", "cilium-clustermesh") == {}
    assert "198.51.100.9" in (await known(clusters, "west"))["east"]
    assert (await clusters.run("plan", "-f", file)).exit_code == 0


async def test_manifests_applied_by_hand_give_the_same(clusters: Clusters, tmp_path: Path) -> None:
    await clusters.enable()
    bundle = tmp_path / "west.yaml"
    await clusters.run("connect", "--context", "west", "--export", str(bundle))
    file = written(tmp_path, text(EAST, {"name": "west", "id": 2, "bundle": "west.yaml"}))
    plan = await clusters.run("plan", "-f", file, "--manifests", str(tmp_path / "out"))
    assert plan.exit_code == 2, plan.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["east.yaml"]
    for body in yaml.safe_load_all((tmp_path / "out" / "east.yaml").read_text()):
        kind = SECRET if body["kind"] == "Secret" else CONFIGMAP
        await clusters.client("east").apply(kind, body)
    assert (await clusters.run("plan", "-f", file)).exit_code == 0


async def test_a_context_that_leads_elsewhere_changes_nothing(clusters: Clusters, tmp_path: Path) -> None:
    await clusters.enable()
    file = written(tmp_path, text(EAST | {"context": "west"}, WEST | {"context": "east"}))
    before = await clusters.everything()
    done = await clusters.run("apply", "-f", file)
    assert done.exit_code == 1
    assert "east: west is cluster west with id 2, not east with id 1" in done.stderr
    assert await clusters.everything() == before


async def test_what_connect_refuses_apply_refuses(clusters: Clusters, tmp_path: Path) -> None:
    await clusters.enable(share=False)
    before = await clusters.everything()
    done = await clusters.run("apply", "-f", written(tmp_path, text(EAST, WEST)))
    assert (done.exit_code, "ca-mismatch" in done.stderr) == (1, True)
    assert await clusters.everything() == before
