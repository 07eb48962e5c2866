"""The Secrets and ConfigMaps of one cluster, followed once for all of its kubelets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing

from aiokit.backoff import Backoff
from k8s.client import Client
from k8s.core import Secret
from k8s.objects import KubeObject
from k8s.resource import CONFIGMAP, SECRET, Resource
from k8s.watch import follow
from lab.manifest import ConfigMap
from lab.node.volumes import Sources


class ClusterSources:
    """Holds every version until the next; `wait_newer` tells readers to look again."""

    def __init__(self) -> None:
        self._secrets: dict[str, Mapping[str, bytes]] = {}
        self._maps: dict[str, Mapping[str, bytes]] = {}
        self._listed: set[str] = set()
        self._revision = 0
        self._changed = asyncio.Event()

    @property
    def revision(self) -> int:
        return self._revision

    @property
    def is_complete(self) -> bool:
        """Whether an object that is not here does not exist, rather than not being known yet."""
        return self._listed == {SECRET.plural, CONFIGMAP.plural}

    def of(self, namespace: str) -> Sources:
        return Sources(
            lambda name: self._secrets.get(f"{namespace}/{name}"),
            lambda name: self._maps.get(f"{namespace}/{name}"),
        )

    async def wait_newer(self, revision: int) -> None:
        while self._revision <= revision or not self.is_complete:
            changed = self._changed  # replaced at every change: nobody can miss one
            await changed.wait()

    async def run(self, client: Client) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(client, SECRET, Secret), name="follow secrets")
            group.create_task(self._follow(client, CONFIGMAP, ConfigMap), name="follow configmaps")

    async def _follow(self, client: Client, resource: Resource, kind: type[Secret] | type[ConfigMap]) -> None:
        held = self._secrets if resource is SECRET else self._maps
        async with aclosing(follow(client, resource, kind, backoff=Backoff(0.1, 5))) as deltas:
            async for delta in deltas:
                held.update({key: _files(each) for key, each in delta.upserts.items()})
                for key in delta.removes:
                    held.pop(key, None)
                if delta.synced:
                    self._listed.add(resource.plural)
                self._revision += 1
                changed, self._changed = self._changed, asyncio.Event()
                changed.set()


def _files(source: KubeObject) -> Mapping[str, bytes]:
    if isinstance(source, ConfigMap):
        return source.files
    assert isinstance(source, Secret)
    return source.data
