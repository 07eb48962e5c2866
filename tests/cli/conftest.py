"""Two clusters' API servers, in memory, behind one kubeconfig, as an operator has them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result

from certs import bundle
from cli import secret
from cli.__main__ import main
from k8s.client import Client
from k8s.resource import CONFIGMAP, NODE, SECRET, SERVICE, Resource
from kvstore.memory import MemoryBackend
from tests.k8s.apiserver import TOKEN, RunningApi, lab_api

IDS = {"east": 1, "west": 2}


@dataclass(frozen=True)
class Clusters:
    """`run` is the command line; the rest reads and prepares what it works on."""

    apis: dict[str, RunningApi]
    kubeconfig: Path

    async def run(self, *arguments: str) -> Result:
        """The command in a thread, as it brings its own event loop."""
        words = [*arguments, "--kubeconfig", str(self.kubeconfig)]
        return await asyncio.to_thread(CliRunner().invoke, main, words)

    def client(self, cluster: str) -> Client:
        return self.apis[cluster].client

    async def get(
        self, cluster: str, resource: Resource, name: str, namespace: str = "kube-system"
    ) -> dict[str, Any] | None:
        raw = await self.client(cluster).get(resource, name, namespace if resource.namespaced else "")
        return msgspec.json.decode(raw) if raw else None

    async def name(self, cluster: str, name: str, number: str, capacity: str = "255") -> None:
        data = {"cluster-name": name, "cluster-id": number, "max-connected-clusters": capacity}
        body = {"metadata": {"name": "cilium-config", "namespace": "kube-system"}, "data": data}
        await self.client(cluster).apply(CONFIGMAP, body)

    async def share_authority(self) -> None:
        """East's, as an operator copies it."""
        found = await self.get("east", SECRET, "cilium-ca")
        assert found is not None
        body = {"metadata": {"name": "cilium-ca", "namespace": "kube-system"}, "data": found["data"]}
        await self.client("west").apply(SECRET, body)

    async def enable(self, *more: str, share: bool = True) -> None:
        """Both, with addresses."""
        for name, number in IDS.items():
            if name == "west" and share:
                await self.share_authority()
            result = await self.run("enable", "--context", name, "--service-type", "LoadBalancer", *more)
            assert result.exit_code == 0, result.output
            await self.give_address(name, f"192.0.2.{number}")

    async def give_address(self, cluster: str, ip: str) -> None:
        status = {"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}}
        await self.client(cluster).merge_patch(
            SERVICE, "clustermesh-apiserver", status, "kube-system", "status"
        )

    async def trusted(self) -> dict[str, set[bytes]]:
        """The authorities that each cluster's certificates come with."""
        found: dict[str, set[bytes]] = {}
        for cluster in self.apis:
            for name in secret.LEAVES:
                body = await self.get(cluster, SECRET, name)
                assert body is not None
                trust = bundle.parse(base64.b64decode(body["data"][secret.TRUST]))
                found[f"{cluster} {name}"] = set(trust.key_ids)
        return found

    async def everything(self) -> dict[str, list[bytes]]:
        """What the commands may change, for comparing."""
        kinds = (CONFIGMAP, SECRET, SERVICE, NODE)
        return {
            f"{name} {kind.plural}": await api.client.list(kind)
            for name, api in self.apis.items()
            for kind in kinds
        }


@pytest.fixture
async def clusters(tmp_path: Path) -> AsyncIterator[Clusters]:
    async with lab_api(MemoryBackend()) as east, lab_api(MemoryBackend()) as west:
        apis = {"east": east, "west": west}
        found = Clusters(apis, write_kubeconfig(tmp_path / "kubeconfig", apis))
        for name, number in IDS.items():
            await found.name(name, name, str(number))
        yield found


def write_kubeconfig(path: Path, apis: dict[str, RunningApi]) -> Path:
    contexts = [{"name": name, "context": {"cluster": name, "user": "u"}} for name in apis]
    servers = [
        {
            "name": name,
            "cluster": {"server": api.access.server, "certificate-authority": str(api.ca_file)},
        }
        for name, api in apis.items()
    ]
    users = [{"name": "u", "user": {"token": TOKEN}}]
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "east",
                "contexts": contexts,
                "clusters": servers,
                "users": users,
            }
        )
    )
    path.chmod(0o600)
    return path
