"""Helm's own certificates survive its upgrades: what is there is looked up, not made anew."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec

from cli import secret
from k8s.client import Client
from k8s.resource import SECRET
from kvstore.memory import MemoryBackend
from tests.charts.conftest import CHART, HELM_PYTHON, ROOT
from tests.cli.conftest import write_kubeconfig
from tests.k8s.apiserver import lab_api

NAMESPACE = "kube-system"
SECONDS = 30.0
VALUES = {"cluster": {"name": "east", "id": 1}, "tls": {"auto": {"method": "helm"}}}


async def _secrets(client: Client) -> dict[str, Any]:
    found = [msgspec.json.decode(raw) for raw in await client.list(SECRET, NAMESPACE)]
    return {each["metadata"]["name"]: each["data"] for each in found}


async def test_an_upgrade_keeps_authority_and_certificates(tmp_path: Path) -> None:
    async with lab_api(MemoryBackend()) as api:
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", {"east": api})
        process = await asyncio.create_subprocess_exec(
            *(str(HELM_PYTHON), str(ROOT / "e2e/helm_release.py"), str(CHART), str(kubeconfig), "east"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            held = []
            for action in ("install", "upgrade"):
                process.stdin.write(json.dumps([action, "east", VALUES]).encode() + b"\n")
                answer = await asyncio.wait_for(process.stdout.readline(), SECONDS)
                assert json.loads(answer) == "ok"
                held.append(await _secrets(api.client))
            assert held[0] == held[1]
            assert set(held[0]) == {"cilium-ca", *secret.LEAVES}
        finally:
            process.kill()
            await process.wait()
