"""Two operators, two authorities, two files: neither has the other's kubeconfig."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.day.days import Day
from lab.demo.driver import CommandError


async def test_clusters_of_two_authorities_meet_by_exchanged_bundles_and_part(
    day: Day, tmp_path: Path
) -> None:
    west, north = tmp_path / "west.yaml", tmp_path / "north.yaml"
    await day.run("connect", "--context", "west", "--export", str(west))
    await day.run("connect", "--context", "north", "--export", str(north))
    for name, path in (("west", west), ("north", north)):
        _assert_nothing_secret(path.read_bytes(), await day.secrets(name))

    with pytest.raises(CommandError, match=r"ca-mismatch"):
        await day.run("connect", "--context", "west", "--import", str(north))
    assert not (await day.secrets("west"))["cilium-kvstoremesh"]  # refused before the first change
    await day.run("connect", "--context", "west", "--import", str(north), "--allow-mismatching-ca")
    await day.run("connect", "--context", "north", "--import", str(west), "--allow-mismatching-ca")
    await day.ready(["west", "north"])
    await day.answered("west", "west", "north")
    await day.answered("north", "west", "north")

    await day.run("disconnect", "--context", "west", "--cluster", "north")
    await day.answered("west", "west")
    await day.run("disconnect", "--context", "north", "--cluster", "west")
    await day.answered("north", "north")


def _assert_nothing_secret(bundle: bytes, secrets: dict[str, dict[str, bytes]]) -> None:
    keys = [value for data in secrets.values() for name, value in data.items() if name.endswith(".key")]
    assert len(keys) > 1
    assert b"PRIVATE" not in bundle
    for key in keys:
        for line in key.splitlines()[1:-1]:  # of its base64, however it may be indented or wrapped
            assert line not in bundle
