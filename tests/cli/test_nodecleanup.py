"""`clustermesh post-uninstall-cleanup`, with pods that answer from a table."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from click.testing import Result

from aiokit.wait import eventually
from cli import cleaner
from cli.crd import definitions
from k8s.resource import CILIUMENDPOINT, CILIUMNODE, CRD, DAEMONSET, POD
from lab.api.runtime import ExecResult
from mesh.routingmode import ANNOTATION
from tests.cli.conftest import Clusters
from tests.cli.test_enable import BALANCED
from tests.cli.test_verify import add_agent

COMMAND = ("post-uninstall-cleanup", "--context", "east")
ITEM = {"kind": "map", "name": "/sys/fs/bpf/m", "about": "", "state": "removed"}
CLEAN = {"clean": True, "items": [ITEM], "kept": []}
KEPT = {"kind": "device", "name": "cilium_vxlan", "reason": "used", "ours": True}
LEFT = {"clean": False, "items": [{**ITEM, "state": "failed", "reason": "busy"}], "kept": [KEPT]}


async def add_node(
    clusters: Clusters, name: str, ip: str, answers: Any, *, is_ours: bool = True, is_up: bool = True
) -> None:
    """A node with a pod of the clean-up's and with what an agent told of it."""
    client = clusters.client("east")
    pod = {
        "metadata": {"name": f"c-{name}", "namespace": "kube-system", "labels": {"k8s-app": cleaner.NAME}},
        "spec": {"nodeName": name, "containers": [{"name": cleaner.NAME, "image": "x"}]},
    }
    await client.create(POD, pod)
    status = {"status": {"conditions": [{"type": "Ready", "status": str(is_up)}]}}
    await client.merge_patch(POD, f"c-{name}", status, "kube-system", "status")
    clusters.apis["east"].runtime.answers[f"c-{name}"] = (
        answers if isinstance(answers, ExecResult) else ExecResult(msgspec.json.encode(answers), b"", 0)
    )
    annotations = {ANNOTATION: "tunnel"} if is_ours else {}
    addresses = [{"type": "InternalIP", "ip": ip}]
    metadata = {"name": name, "annotations": annotations}
    await client.create(CILIUMNODE, {"metadata": metadata, "spec": {"addresses": addresses}})
    endpoint = {
        "metadata": {"name": f"web-{name}", "namespace": "default"},
        "status": {"networking": {"node": ip}},
    }
    await client.create(CILIUMENDPOINT, endpoint)


async def run(clusters: Clusters, *options: str, ready: int) -> Result:
    """While the command runs, `ready` of its pods come up."""
    client = clusters.client("east")

    async def come_up() -> None:
        async def exists() -> bool:
            return await client.get(DAEMONSET, cleaner.NAME, "kube-system") is not None

        await eventually(exists, 10)
        counts = dict.fromkeys(("desiredNumberScheduled", "updatedNumberScheduled", "numberReady"), ready)
        status = {"status": {**counts, "observedGeneration": 99}}
        await client.merge_patch(DAEMONSET, cleaner.NAME, status, "kube-system", "status")

    async with asyncio.TaskGroup() as group:
        group.create_task(come_up())
        result = group.create_task(clusters.run(*COMMAND, *options))
    assert await clusters.get("east", DAEMONSET, cleaner.NAME) is None
    return result.result()


async def define(clusters: Clusters) -> None:
    for body in definitions(mcs_api=False):
        await clusters.client("east").apply(CRD, body)


async def records(clusters: Clusters) -> set[str]:
    client = clusters.client("east")
    found = [*await client.list(CILIUMNODE), *await client.list(CILIUMENDPOINT)]
    return {msgspec.json.decode(raw)["metadata"]["name"] for raw in found}


async def test_every_node_is_told_and_the_records_of_clean_ones_go(clusters: Clusters) -> None:
    await define(clusters)
    await add_node(clusters, "node-1", "198.18.1.11", CLEAN)
    await add_node(clusters, "node-2", "198.18.1.12", LEFT)
    await add_node(clusters, "node-3", "198.18.1.13", CLEAN, is_ours=False)
    await add_node(clusters, "node-4", "198.18.1.14", ExecResult(b"", b"error: no bpf\n", 1))
    before = await records(clusters)
    result = await run(clusters, "--dry-run", ready=4)
    assert (result.exit_code, await records(clusters)) == (0, before)
    result = await run(clusters, "--force", ready=4)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-6:] == [
        "node-1   clean     1 map",
        "node-2   left      1 map",
        "                   still there: map /sys/fs/bpf/m: busy",
        "                   stays: device cilium_vxlan: used",
        "node-3   clean     1 map",
        "node-4   unknown   node node-4: no bpf",
    ]
    assert before - await records(clusters) == {"node-1", "web-node-1"}
    assert "deleted CiliumNode node-1" in result.stderr
    _, argv, _ = clusters.apis["east"].runtime.calls[-1]
    assert [*argv[3:]] == [
        *("post-uninstall-cleanup", "--force", "--state-dir", cleaner.STATE_DIR, "-o", "json")
    ]


async def test_json_is_each_nodes_answer(clusters: Clusters) -> None:
    await define(clusters)
    await add_node(clusters, "node-1", "198.18.1.11", CLEAN)
    result = await run(clusters, "--force", "-o", "json", ready=1)
    assert (result.exit_code, msgspec.json.decode(result.stdout)) == (0, {"node-1": CLEAN})
    assert (await clusters.run(*COMMAND, "-o", "json")).exit_code == 2


async def test_unless_somebody_says_yes_nothing_is_removed(clusters: Clusters) -> None:
    await define(clusters)
    await add_node(clusters, "node-1", "198.18.1.11", LEFT)
    result = await run(clusters, ready=1)
    assert result.exit_code == 1
    assert "nothing was removed" in result.stderr
    assert all("--force" not in argv for _, argv, _ in clusters.apis["east"].runtime.calls)


async def test_pods_that_do_not_come_up_are_named_and_go(clusters: Clusters) -> None:
    result = await run(clusters, "--force", "--wait-duration", "200ms", ready=0)
    assert result.exit_code == 1
    assert "DaemonSet clustermesh-cleanup: 0 of 0 ready" in result.stderr


async def test_a_node_that_is_down_holds_up_no_other(clusters: Clusters) -> None:
    await define(clusters)
    await add_node(clusters, "node-1", "198.18.1.11", CLEAN)
    await add_node(clusters, "node-2", "198.18.1.12", CLEAN, is_up=False)
    await add_agent(clusters, "east", "node-2", "198.18.1.12", {})  # as its pod cannot end there
    result = await run(clusters, "--force", "--wait-duration", "200ms", "-o", "json", ready=0)
    assert (result.exit_code, msgspec.json.decode(result.stdout)) == (
        1,
        {"node-1": CLEAN, "node-2": {"error": "the clean-up's pod did not come up on it"}},
    )
    assert "warning: agents do not end on node-2" in result.stderr
    assert await records(clusters) == {"node-2", "web-node-2"}


async def test_while_agents_run_it_refuses(clusters: Clusters) -> None:
    await clusters.run("enable", "--context", "east", *BALANCED)
    result = await clusters.run(*COMMAND, "--force")
    assert result.exit_code == 1
    assert "end them first, `clustermesh disable --context east`" in result.stderr
    assert await clusters.get("east", DAEMONSET, cleaner.NAME) is None
