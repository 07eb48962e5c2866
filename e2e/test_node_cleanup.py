"""Nodes whose agents have gone are cleaned up on request, and new agents make them members again."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from aiokit.wait import eventually
from cli import cleaner
from cli.settings import AGENT as DAEMON
from e2e.conftest import Mesh
from e2e.faults import AGENT, in_namespace, pids_of
from k8s.client import Client
from k8s.resource import CILIUMENDPOINT, CILIUMNODE, DAEMONSET, POD
from lab.demo.driver import CommandError
from lab.demo.objects import NAMESPACE
from lab.plan import NodePlan

COMMAND = ("post-uninstall-cleanup", "--context", "east")
KINDS = {"pod-device", "hook", "program", "route", "device", "map", "file"}
FOREIGN = "192.0.2.0/24"


def ip(node: NodePlan, *words: str) -> Any:
    done = subprocess.run(["ip", "-n", node.namespace, "-j", *words], capture_output=True, check=True)
    return json.loads(done.stdout or b"[]")


def nothing_is_left(node: NodePlan) -> None:
    assert not node.bpf_root.exists()
    assert {link["ifname"] for link in ip(node, "link", "show")} == {"lo", "eth0"}
    routes = [each["dst"] for family in ("-4", "-6") for each in ip(node, family, "route", "show")]
    assert FOREIGN in routes
    assert not any(dst.startswith(("10.", "fd00:10:")) for dst in routes)


async def without_agents(client: Client, nodes: list[NodePlan]) -> None:
    await client.delete(DAEMONSET, DAEMON, "kube-system")
    await eventually(
        lambda: not any(in_namespace(pids_of(*AGENT), node.namespace) for node in nodes), 30, 0.1
    )


@pytest.mark.timeout(120)
async def test_a_cluster_is_cleaned_up_on_request_and_joins_again(mesh: Mesh) -> None:
    nodes = list(mesh.plan.cluster("east").nodes[1:])
    with pytest.raises(CommandError, match="agents run here"):
        await mesh.lab.command(*COMMAND, "--force")
    for node in nodes:
        ip(node, "route", "add", FOREIGN, "dev", "eth0")
    async with mesh.lab.kubernetes("east") as client:
        await without_agents(client, nodes)
        said = json.loads(await mesh.lab.command(*COMMAND, "--force", "-o", "json"))
        assert {node: answer["clean"] for node, answer in said.items() if answer["items"]} == {
            "node-1": True,
            "node-2": True,
        }
        for node in nodes:
            assert {item["kind"] for item in said[node.name]["items"]} == KINDS
            nothing_is_left(node)
            ip(node, "route", "del", FOREIGN)
        assert await client.list(CILIUMNODE) == await client.list(CILIUMENDPOINT) == []
        assert await client.get(DAEMONSET, cleaner.NAME, "kube-system") is None
        again = json.loads(await mesh.lab.command(*COMMAND, "--dry-run", "-o", "json"))
        assert [answer["items"] for answer in again.values() if answer["items"]] == []

        await mesh.lab.command("enable", "--context", "east", "--enable-mcs-api", "true", "--wait")
        for raw in await client.list(POD, NAMESPACE):  # the clean-up took their network
            await client.delete(POD, json.loads(raw)["metadata"]["name"], NAMESPACE)
    await mesh.restored()
    mesh.clients["east"] = (await mesh.lab.wait_pods("east", "client", 1))[0]
    await mesh.lab.command("status", "--context", "east", "--wait", "--wait-duration", "60s")
    await mesh.lab.command("verify", "--context", "east")
    answered = set()
    async with mesh.lab.curling("east", mesh.clients["east"], mesh.url) as answers:
        async for answer in answers:
            assert answer.served_by
            answered.add(answer.served_by)
            if len(answered) == 4:
                break
