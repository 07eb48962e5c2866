"""The chart's dashboard and alerts ask only for metrics that the running programs export."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import yaml

from e2e.conftest import Mesh
from k8s.resource import POD

CHART = Path(__file__).parents[1] / "charts/clustermesh"
PORTS = {"apiserver": (9880, 9881, 9882), "agent": (9879,), "operator": (9884,)}
_WORD = re.compile(r'"[^"]*"|\[[^]]*\]|\b(?:by|without) \([^)]*\)|([a-z_]+)(?=\{|\[|\)| [<>]|$)')
_NAME = re.compile(r'__name__=~"([^"]+)"')


def asked() -> set[str]:
    dashboard = json.loads((CHART / "dashboards/clustermesh.json").read_text())
    groups = yaml.safe_load((CHART / "dashboards/alerts.yaml").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [rule["expr"] for group in groups for rule in group["rules"]]
    expressions += [
        re.sub(r"^label_values\((.*), .*\)$", r"\1{}", each["query"])
        for each in dashboard["templating"]["list"]
        if each["type"] == "query"
    ]
    return {name for each in expressions for name in names(each)}


def names(expression: str) -> set[str]:
    """The metrics in a PromQL expression of ours: what stands before a brace, a bracket or a comparison."""
    if listed := _NAME.search(expression):
        return set(listed[1].split("|"))
    return {found for found in _WORD.findall(expression) if "_" in found}


async def exported(mesh: Mesh, app: str, ports: tuple[int, ...]) -> set[str]:
    found = set[str]()
    async with mesh.lab.kubernetes("east") as client:
        raw = (await client.list(POD, "kube-system", label_selector=f"k8s-app=clustermesh-{app}"))[0]
        pod = msgspec.json.decode(raw)["metadata"]["name"]
        for port in ports:
            text = (await client.proxy_get(pod, "kube-system", port, "metrics")).decode()
            found |= {re.split(r"[{ ]", line)[0] for line in text.splitlines() if not line.startswith("#")}
    return found


async def test_every_metric_that_is_asked_for_is_exported(mesh: Mesh) -> None:
    told = set[str]().union(*[await exported(mesh, app, ports) for app, ports in PORTS.items()])
    wanted = asked()
    assert len(wanted) > 30
    assert wanted <= told
