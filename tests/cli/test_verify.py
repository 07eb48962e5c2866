"""`clustermesh verify`, and `trace` over several nodes, with agents that answer from a table."""

from __future__ import annotations

from typing import Any

import msgspec

from k8s.resource import POD
from lab.api.runtime import ExecResult
from tests.cli.conftest import Clusters
from tests.cli.dbg.test_verify import answer, state
from tests.cli.test_trace import FOUND, PATH

LABELS = {"k8s-app": "clustermesh-agent"}


async def add_agent(clusters: Clusters, cluster: str, node: str, ip: str, answers: Any) -> None:
    body = {
        "metadata": {"name": f"agent-{node}", "namespace": "kube-system", "labels": LABELS},
        "spec": {"nodeName": node, "containers": [{"name": "agent", "image": "x"}]},
    }
    client = clusters.client(cluster)
    await client.create(POD, body)
    await client.merge_patch(POD, f"agent-{node}", {"status": {"hostIP": ip}}, "kube-system", "status")
    clusters.apis[cluster].runtime.answers[f"agent-{node}"] = (
        answers if isinstance(answers, ExecResult) else ExecResult(msgspec.json.encode(answers), b"", 1)
    )


async def test_every_node_is_a_line_and_its_differences_follow(clusters: Clusters) -> None:
    lost = [{"key": "10.2.1.5/32", "value": "identity=1"}]
    counts = {"missing": 1, "extra": 0, "different": 0}
    differing = answer(state("cilium_ipcache_v2", missing=lost, counts=counts), equal=False)
    equal = answer(state("cilium_lxc"), state("links"))
    await add_agent(clusters, "east", "node-1", "198.18.1.11", equal["/v1/verify"])
    result = await clusters.run("verify", "--context", "east")
    assert (result.exit_code, result.stdout) == (
        0,
        "NODE     KERNEL   ENTRIES   MISSING   EXTRA   DIFFERENT\n"
        "node-1   equal    4         0         0       0\n",
    )
    await add_agent(clusters, "east", "node-2", "198.18.1.12", differing["/v1/verify"])
    await add_agent(clusters, "east", "node-3", "198.18.1.13", ExecResult(b"", b"error: it starts\n", 1))
    result = await clusters.run("verify", "--context", "east")
    assert (result.exit_code, result.stdout) == (
        1,
        "NODE     KERNEL      ENTRIES   MISSING   EXTRA   DIFFERENT\n"
        "node-1   equal       4         0         0       0\n"
        "node-2   different   2         1         0       0\n"
        "node-3   unknown\n"
        "node-2: cilium_ipcache_v2  missing    10.2.1.5/32   identity=1\n"
        "node node-3: it starts\n",
    )
    result = await clusters.run("verify", "--context", "east", "-o", "json")
    found = msgspec.json.decode(result.stdout)
    assert {node: said.get("equal") for node, said in found.items()} == {
        "node-1": True,
        "node-2": False,
        "node-3": None,
    }


async def test_without_agents_the_answer_is_what_to_do(clusters: Clusters) -> None:
    result = await clusters.run("verify", "--context", "east")
    assert result.exit_code == 1
    assert "no agent runs in east: `clustermesh enable --context east`" in result.stderr


async def test_a_trace_asks_the_backends_node_what_it_lets_in(clusters: Clusters) -> None:
    unknown = {"verdict": "unknown", "reason": "west decides", "rules": {}, "decided-by": "cluster west"}
    said = {**FOUND, "paths": [{**PATH, "ingress": unknown}], "differences": [], "verdict": "unknown"}
    await add_agent(clusters, "east", "node-1", "198.18.1.11", said)
    await add_agent(clusters, "west", "node-1", "198.18.2.11", {**FOUND, "differences": []})
    client = {
        "metadata": {"name": "client", "namespace": "default"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "main", "image": "x"}]},
    }
    await clusters.client("east").create(POD, client)
    words = ("trace", "default/client", "web:80", "--context", "east", "-o", "json")
    alone = msgspec.json.decode((await clusters.run(*words)).stdout)
    assert alone["verdict"] == "unknown"
    both = msgspec.json.decode((await clusters.run(*words, "--destination-context", "west")).stdout)
    assert both["verdict"] == "denied"
    assert both["paths"][0]["ingress"]["decided-by"] == "node node-1"
    _, argv, _ = clusters.apis["west"].runtime.calls[-1]
    assert argv[3:6] == ["trace", "identity:65537", "10.2.1.5:8080"]


async def test_a_pod_whose_node_has_no_agent_is_said(clusters: Clusters) -> None:
    client = {
        "metadata": {"name": "client", "namespace": "default"},
        "spec": {"nodeName": "node-9", "containers": [{"name": "main", "image": "x"}]},
    }
    await clusters.client("east").create(POD, client)
    result = await clusters.run("trace", "default/client", "web:80", "--context", "east")
    assert (result.exit_code, "no agent runs on node node-9" in result.stderr) == (1, True)
