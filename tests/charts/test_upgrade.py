"""Helm's own certificates survive its upgrades: what is there is looked up, not made anew."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from cli import secret, users
from cli.settings import PEERS_SECRET
from k8s.client import Client
from k8s.resource import SECRET
from kvstore.memory import MemoryBackend
from tests.charts.conftest import CHART, HELM_PYTHON, ROOT
from tests.cli.conftest import write_kubeconfig
from tests.k8s.apiserver import RunningApi, lab_api

NAMESPACE = "kube-system"
SECONDS = 30.0
VALUES = {"cluster": {"name": "east", "id": 1}, "tls": {"auto": {"method": "helm"}}}
BY_NAME = {**VALUES, "tls": {"auto": {"method": "helm"}, "authMode": "cluster"}}


async def _secrets(client: Client) -> dict[str, Any]:
    found = [msgspec.json.decode(raw) for raw in await client.list(SECRET, NAMESPACE)]
    return {each["metadata"]["name"]: each["data"] for each in found}


@asynccontextmanager
async def helm(api: RunningApi, folder: Path) -> AsyncGenerator[Callable[[str, Any], Awaitable[None]]]:
    kubeconfig = write_kubeconfig(folder / "kubeconfig", {"east": api})
    process = await asyncio.create_subprocess_exec(
        *(str(HELM_PYTHON), str(ROOT / "e2e/helm_release.py"), str(CHART), str(kubeconfig), "east"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    async def ask(action: str, values: Any) -> None:
        stdin.write(json.dumps([action, "east", values]).encode() + b"\n")
        assert json.loads(await asyncio.wait_for(stdout.readline(), SECONDS)) == "ok"

    try:
        yield ask
    finally:
        process.kill()
        await process.wait()


async def test_an_upgrade_keeps_authority_and_certificates(tmp_path: Path) -> None:
    async with lab_api(MemoryBackend()) as api, helm(api, tmp_path) as ask:
        held = []
        for action in ("install", "upgrade"):
            await ask(action, VALUES)
            held.append(await _secrets(api.client))
        assert held[0] == held[1]
        assert set(held[0]) == {"cilium-ca", *secret.LEAVES}


async def test_another_mode_is_another_name_and_a_list_that_upgrades_keep(tmp_path: Path) -> None:
    async with lab_api(MemoryBackend()) as api, helm(api, tmp_path) as ask:
        await ask("install", VALUES)
        told = secret.files(NAMESPACE, PEERS_SECRET, {"north": "endpoints: []", "north.key": "-"})
        await api.client.apply(SECRET, told)
        before = await _secrets(api.client)
        await ask("upgrade", BY_NAME)
        by_name = await _secrets(api.client)
        assert {name for name in by_name if by_name[name] != before[name]} == {secret.REMOTE}
        assert await users.read(api.client, NAMESPACE) == {"north"}
        await users.let_in(api.client, NAMESPACE, "east", "west")  # as `connect` does
        await ask("upgrade", BY_NAME)
        assert await _secrets(api.client) == by_name
        assert await users.read(api.client, NAMESPACE) == {"north", "west"}
        await ask("upgrade", VALUES)
        assert await users.read(api.client, NAMESPACE) == {"north", "west"}
        leaf = base64.b64decode((await _secrets(api.client))[secret.REMOTE]["tls.crt"])
        assert secret.load_chain(leaf)[0].subject.rfc4514_string() == "CN=remote"
