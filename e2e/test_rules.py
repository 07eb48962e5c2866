"""What `mesh.yaml` lets a peer see and claim, applied to a mesh that is in use, and taken back."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from aiokit.wait import eventually
from e2e.conftest import Mesh
from e2e.faults import curls_counted
from lab.demo.steps import until_answered_by

ALL_BUT_SERVICES = ["nodes", "identities", "ip", "serviceexports"]
FOLLOW_SECONDS = 30.0


async def test_services_that_a_peer_may_not_see_are_none_to_it_and_it_stays_ready(
    mesh: Mesh, tmp_path: Path
) -> None:
    async with curls_counted(mesh.lab, "east", mesh.clients["east"], mesh.url) as curls:
        # east comes with the shared name, so it is one of the others
        said = await apply(mesh, tmp_path, west={"*": {"see": ALL_BUT_SERVICES}})
        assert "west: whoever is not named may see nodes, identities, ip, serviceexports" in said
        await answered_only_by_east(mesh)
        status = ("status", "--context", "east", "--wait", "--wait-duration", "20s", "-o", "json")
        shown = json.loads(await mesh.lab.command(*status))
        assert shown["connectivity"]["clusters"]["west"]["connected"] == shown["connectivity"]["total"]
        await apply(mesh, tmp_path)
        await until_answered_by(mesh.lab, mesh.clients["east"], mesh.url, {"east", "west"})
    assert curls and all(answer.served_by for answer in curls)


async def test_what_a_peer_may_not_claim_is_refused_counted_and_shown(mesh: Mesh, tmp_path: Path) -> None:
    async with curls_counted(mesh.lab, "east", mesh.clients["east"], mesh.url) as curls:
        await apply(mesh, tmp_path, east={"west": {"claim": {"namespaces": ["elsewhere"]}}})
        await answered_only_by_east(mesh)

        async def is_shown() -> bool:
            status = await mesh.lab.command("status", "--context", "east", check=False)
            return "services: the namespace is not among those that the peer may serve" in status

        await eventually(is_shown, FOLLOW_SECONDS, 0.5)
        await apply(mesh, tmp_path)
        await until_answered_by(mesh.lab, mesh.clients["east"], mesh.url, {"east", "west"})
    assert curls and all(answer.served_by for answer in curls)


async def apply(mesh: Mesh, folder: Path, **peers: dict[str, Any]) -> str:
    """`clustermesh apply` of both clusters with these rules; a second time there is nothing to change."""
    clusters = [
        {"name": name, "id": number, "context": name, "peers": peers.get(name, {})}
        for number, name in enumerate(("east", "west"), 1)
    ]
    file = folder / "mesh.yaml"
    file.write_text(yaml.safe_dump({"kind": "Mesh", "version": 1, "clusters": clusters}))
    planned = await mesh.lab.command("plan", "-f", str(file), check=False)
    await mesh.lab.command("apply", "-f", str(file))
    assert await mesh.lab.command("plan", "-f", str(file)) == ""
    return planned


async def answered_only_by_east(mesh: Mesh) -> None:
    async with asyncio.timeout(FOLLOW_SECONDS):
        while Counter(await clusters_of(mesh, 30)).keys() != {"east"}:
            pass


async def clusters_of(mesh: Mesh, count: int) -> list[str]:
    found: list[str] = []
    async with mesh.lab.curling("east", mesh.clients["east"], mesh.url) as answers:
        async for answer in answers:
            found.append(answer.cluster)
            if len(found) == count:
                break
    return found
