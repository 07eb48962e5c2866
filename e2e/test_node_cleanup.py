"""A node whose agent has been stopped is cleaned up on request, and a new agent makes it a member again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokit.wait import eventually
from cli.settings import AGENT as DAEMON
from e2e.conftest import Mesh
from e2e.faults import AGENT, in_namespace, pids_of
from k8s.resource import DAEMONSET
from lab.plan import NodePlan

HOST_LABEL = "kubernetes.io/hostname"


@asynccontextmanager
async def without_agent(mesh: Mesh, node: NodePlan, others: str) -> AsyncIterator[None]:
    """East's agents are to run on the node `others` only, while the block runs."""

    async def restrict(to: str | None) -> None:
        patch = {"spec": {"template": {"spec": {"nodeSelector": {HOST_LABEL: to}}}}}
        async with mesh.lab.kubernetes("east") as client:
            await client.merge_patch(DAEMONSET, DAEMON, patch, "kube-system")

    await restrict(others)
    try:
        await eventually(lambda: in_namespace(pids_of(*AGENT), node.namespace) == [], 30)
        yield
    finally:
        await restrict(None)


def cleaned(mesh: Mesh, node: NodePlan, *options: str) -> subprocess.CompletedProcess[str]:
    run = mesh.lab.paths.node(node).agent_socket.parent
    return subprocess.run(
        [
            *("nsenter", f"--net=/run/netns/{node.namespace}", sys.executable, "-m", "cli.dbg"),
            *("--host", str(run / "cilium.sock"), "post-uninstall-cleanup", "-o", "json", *options),
            *("--bpf-root", str(node.bpf_root), "--state-dir", str(run / "state")),
        ],
        capture_output=True,
        text=True,
        timeout=30,
    )


def shown(node: NodePlan, *words: str) -> Any:
    done = subprocess.run(["ip", "-n", node.namespace, "-j", *words], capture_output=True, check=True)
    return json.loads(done.stdout)


async def test_a_node_is_cleaned_up_on_request_and_joins_again(mesh: Mesh) -> None:
    await mesh.spread()
    nodes = mesh.plan.cluster("east").nodes[1:]
    stays = await mesh.node_of_client("east")
    (node,) = [each for each in nodes if each != stays]
    refused = cleaned(mesh, node, "--force")
    assert (refused.returncode, "an agent runs on this node" in refused.stderr) == (1, True)
    async with without_agent(mesh, node, stays.name):
        done = cleaned(mesh, node, "--force")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert said["clean"]
        kinds = {item["kind"] for item in said["items"]}
        assert kinds == {"pod-device", "hook", "program", "route", "device", "map", "file"}
        assert not node.bpf_root.exists()
        assert {link["ifname"] for link in shown(node, "link", "show")} == {"lo", "eth0"}
        assert [
            each for each in shown(node, "route", "show", "table", "all") if each.get("protocol") == "110"
        ] == []
        assert json.loads(cleaned(mesh, node, "--force").stdout)["items"] == []
    await mesh.lab.command("status", "--context", "east", "--wait", "--wait-duration", "60s")
    await mesh.spread()
    answered = set()
    async with mesh.lab.curling("east", mesh.clients["east"], mesh.url) as answers:
        async for answer in answers:
            assert answer.served_by
            answered.add(answer.served_by)
            if len(answered) == 4:
                break
    await mesh.lab.command("verify", "--context", "east")
