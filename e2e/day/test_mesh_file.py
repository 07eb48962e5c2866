"""`mesh.yaml`: what `plan` shows is what `apply` does, and what its manifests do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.day.days import CLUSTERS, Day
from lab.demo.driver import CommandError

PEERS = ("cilium-clustermesh", "cilium-kvstoremesh")
FILE = """
kind: Mesh
version: 1
clusters:
  - {name: east, id: 1, context: east}
  - {name: west, id: 2, context: west}
  - {name: north, id: 3, context: north}
reads:
  east: [west, north]
  west: [east]
  north: [east]
shareAuthorities: true
"""


async def test_a_file_is_planned_applied_and_rolled_out_by_its_manifests_alike(
    day: Day, tmp_path: Path
) -> None:
    await day.apart()
    file, manifests = tmp_path / "mesh.yaml", tmp_path / "manifests"
    file.write_text(FILE)

    assert {change[:3] for change in await _plan(day, file)} >= {
        ("east", "add", "west"),
        ("east", "add", "north"),
        ("west", "add", "east"),
        ("north", "add", "east"),
    }
    with pytest.raises(CommandError):  # as its exit status says
        await day.run("plan", "-f", str(file))
    await day.run("apply", "-f", str(file))
    await day.run("plan", "-f", str(file))
    assert await _plan(day, file) == []
    await day.ready()
    await day.answered("east", *CLUSTERS)
    applied = await _told(day)
    assert applied["west"]["cilium-kvstoremesh"].keys() == {"east"}

    await day.apart()
    assert all(change[1] == "add" for change in await _plan(day, file, "--manifests", str(manifests)))
    for name in CLUSTERS:
        await day.run("lab", "--name", day.lab.lab, "apply", name, str(manifests / f"{name}.yaml"))
    assert await _told(day) == applied
    assert await _plan(day, file) == []


async def _plan(day: Day, file: Path, *more: str) -> list[tuple[str, str, str]]:
    said = await day.lab.command("plan", "-f", str(file), "-o", "json", *more, check=False)
    return [(each["cluster"], each["action"], each["peer"]) for each in json.loads(said)]


async def _told(day: Day) -> dict[str, dict[str, dict[str, bytes]]]:
    return {name: {each: (await day.secrets(name))[each] for each in PEERS} for name in CLUSTERS}
