"""What `clustermesh trace` tells beforehand is what curl meets."""

from __future__ import annotations

import json
from typing import Any

from aiokit.wait import eventually
from e2e.conftest import Mesh
from lab.demo.objects import deny_policy

POLICY = "deny-east-client"


async def _told(mesh: Mesh, destination: str, *more: str) -> dict[str, Any]:
    client = f"default/{mesh.clients['east']}"
    said = await mesh.lab.command(
        *("trace", client, destination, "--context", "east", "--destination-context", "west", "-o", "json"),
        *more,
        check=False,
    )
    found: dict[str, Any] = json.loads(said)
    return found


async def test_a_trace_crosses_the_mesh_and_names_the_policy_that_denies(mesh: Mesh) -> None:
    found = await _told(mesh, "web.default:80")
    assert (found["verdict"], found["differences"]) == ("allowed", [])
    candidates = found["service"]["candidates"]
    assert {(each["cluster"], each["chosen"]) for each in candidates} == {("east", True), ("west", True)}
    far = [path for path in found["paths"] if path["delivery"].get("node-name", "").startswith("west/")]
    assert len(far) == 2
    assert {path["ingress"]["decided-by"] for path in far} <= {"node node-1", "node node-2"}
    assert {path["delivery"]["vni"] for path in far} == {found["source"]["identity"]}

    await mesh.lab.apply("west", deny_policy(POLICY, protects="web", app="client", cluster="east"))
    try:

        async def is_denied() -> bool:
            found.update(await _told(mesh, f"{far[0]['address']}:8080"))
            return found["verdict"] == "denied"

        await eventually(is_denied, 30, 0.2)
        assert found["paths"][0]["ingress"]["reason"] == f"denied by default/{POLICY}"
        answer = await mesh.lab.curl("east", mesh.clients["east"], f"http://{far[0]['address']}:8080/")
        assert answer.served_by == ""
    finally:
        await mesh.lab.delete("west", "CiliumNetworkPolicy", POLICY)
    text = await mesh.lab.command(
        "trace", f"default/{mesh.clients['east']}", "web:80", "--context", "east", check=False
    )
    assert "decided by cluster west" in text
    assert "verdict: unknown" in text
    nodes = json.loads(await mesh.lab.command("verify", "--context", "west", "-o", "json"))
    assert {name: said["equal"] for name, said in nodes.items()} == {"node-1": True, "node-2": True}
