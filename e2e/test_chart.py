"""The chart, installed by Helm's own code in a lab of its own: two clusters connect and serve.

Each signs with an authority of its own, below a root that is in neither, and comes under a name of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiokit.wait import eventually
from cli import users
from e2e.labname import of_checkout
from k8s.resource import DEPLOYMENT, JOB, SECRET
from lab.demo.driver import Driver
from lab.demo.objects import SLEEP_IMAGE, deployment, service
from lab.plan import make

ROOT = Path(__file__).parents[1]
LAB = of_checkout("chart")
IDS = {"east": 1, "west": 2}
NAMESPACE = "kube-system"
HELM_SECONDS, ANSWER_SECONDS = 60.0, 30.0


class Helm:
    """Releases of the chart, one in each cluster."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, action: str, cluster: str, **values: Any) -> str:
        """`ok`, or what Helm says is wrong."""
        assert self._process.stdin is not None and self._process.stdout is not None
        values = {
            "cluster": {"name": cluster, "id": IDS[cluster], "writeConfig": False},  # the lab has
            "controlNode": True,
            "agent": {"tolerations": []},
            "tls": {"authMode": "cluster"},
            **values,
        }
        self._process.stdin.write(json.dumps([action, cluster, values]).encode() + b"\n")
        await self._process.stdin.drain()
        line = await asyncio.wait_for(self._process.stdout.readline(), HELM_SECONDS)
        answer: str = json.loads(line)
        return answer


@asynccontextmanager
async def helm(lab: Driver) -> AsyncGenerator[Helm]:
    process = await asyncio.create_subprocess_exec(
        *(str(ROOT / ".venv-helm/bin/python"), str(ROOT / "e2e/helm_release.py")),
        *(str(ROOT / "charts/clustermesh"), str(lab.paths.kubeconfig), ",".join(IDS)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=sys.stderr,
    )
    try:
        yield Helm(process)
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
def lab() -> Iterator[Driver]:
    made = Driver(LAB)
    try:
        asyncio.run(made.command("lab", "--name", LAB, "up", "--nodes", "1"))
        yield made
    finally:
        asyncio.run(made.command("lab", "--name", LAB, "down"))


def test_helm_installs_clusters_that_connect_serve_and_are_upgraded(lab: Driver, tmp_path: Path) -> None:
    asyncio.run(_run(lab, tmp_path / "root"))


async def _run(lab: Driver, root: Path) -> None:
    async with helm(lab) as releases:
        await lab.command("certs", "root", str(root))
        for cluster in IDS:
            words = ("--root", str(root), "--context", cluster, "--cluster-name", cluster)
            await lab.command("certs", "intermediate", *words)
            assert await releases.ask("install", cluster, mcs={"enabled": True}) == "ok"
        for cluster in IDS:
            await lab.apply(cluster, deployment("web", replicas=1), service("web"))
        await lab.apply("east", deployment("client", replicas=1, image=SLEEP_IMAGE))
        await eventually(lambda: _is_reachable(lab), ANSWER_SECONDS, 0.2)
        bundles = {cluster: str(root.with_name(f"{cluster}.yaml")) for cluster in IDS}
        for cluster, file in bundles.items():
            await lab.command("connect", "--context", cluster, "--export", file)
        for cluster, other in (("east", "west"), ("west", "east")):
            await lab.command("connect", "--context", cluster, "--import", bundles[other])
        await lab.command("status", "--context", "east", "--wait", "--wait-duration", "60s")
        await lab.command("certs", "show", "--context", "east")
        (client,) = await lab.wait_pods("east", "client", 1)
        await lab.wait_pods("west", "web", 1)
        url = f"http://{await lab.cluster_ip('east', 'web')}/"
        async with lab.kubernetes("east") as kube:
            assert await users.read(kube, NAMESPACE) == {"west"}
        answered = set[str]()
        async with asyncio.timeout(ANSWER_SECONDS), lab.curling("east", client, url) as answers:
            async for answer in answers:
                answered.add(answer.cluster)
                if answered >= {*IDS}:
                    break
        before = await _secrets(lab)
        assert await releases.ask("upgrade", "east", mcs={"enabled": False}) == "ok"
        async with lab.kubernetes("east") as kube:
            assert await kube.get(DEPLOYMENT, "clustermesh-operator", NAMESPACE) is None
        assert (
            await _secrets(lab) == before
        )  # peers, certificates and authority are not an upgrade's business
        assert await releases.ask("uninstall", "east") == "ok"
        async with lab.kubernetes("east") as kube:
            assert await kube.list(DEPLOYMENT, NAMESPACE) == []
            assert await kube.list(JOB, NAMESPACE) == []
        node = make(LAB, [*IDS], 1).cluster("east").nodes[1]
        assert node.bpf_root.exists()
        await lab.command("post-uninstall-cleanup", "--context", "east", "--force")
        assert not node.bpf_root.exists()


async def _is_reachable(lab: Driver) -> bool:
    """Whether both control planes have an address: that is what connect asks for."""
    done = [
        json.loads(await lab.command("status", "--context", cluster, "-o", "json", check=False) or "{}")
        for cluster in IDS
    ]
    return all(each.get("access_information", {}).get("service_ips") for each in done)


async def _secrets(lab: Driver) -> dict[str, Any]:
    async with lab.kubernetes("east") as kube:
        found = [msgspec.json.decode(raw) for raw in await kube.list(SECRET, NAMESPACE)]
    return {each["metadata"]["name"]: each.get("data") for each in found}
