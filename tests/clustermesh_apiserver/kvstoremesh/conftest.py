"""KVStoreMesh between real etcds: ours, and one for each remote cluster."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aiokit.wait import eventually
from clustermesh_apiserver.config import cluster_scope
from clustermesh_apiserver.kvstoremesh.config import MirrorConfig
from clustermesh_apiserver.kvstoremesh.kvstoremesh import KVStoreMesh
from clustermesh_apiserver.kvstoremesh.serve import running
from kvstore.errors import KVStoreError
from kvstore.etcd import connect as connect_etcd
from peering.times import PeerTimes
from tests.clustermesh_apiserver.etcd import config as etcd_config
from tests.clustermesh_apiserver.kvstoremesh.source import (
    Entries,
    Source,
    announced,
    cached,
    canaries,
    copy_of,
)
from tests.conftest import RunningEtcd

QUICK = PeerTimes(config_retry=0.05, retry_step=0.05, retry_cap=0.2)
GRACE_SECONDS = 1.0


class Mirroring:
    """`own` is our etcd; `directory` says which clusters there are."""

    def __init__(self, own: RunningEtcd, directory: Path) -> None:
        self.own = own
        self.directory = directory
        directory.mkdir()

    def add(self, source: Source) -> None:
        (self.directory / source.name).write_text(f"endpoints: [http://{source.etcd.endpoint}]\n")

    def remove(self, source: Source) -> None:
        (self.directory / source.name).unlink()

    @asynccontextmanager
    async def running(self, **settings: Any) -> AsyncGenerator[KVStoreMesh]:
        """One life of KVStoreMesh. Leaving it deletes nothing."""
        own = etcd_config(self.own)
        scope = cluster_scope("east", 1, 255)
        mesh = KVStoreMesh(
            MirrorConfig(scope, own, self.directory, lease_ttl_seconds=60, **settings),
            connect=lambda: connect_etcd(own),
            connect_peer=connect_etcd,
            times=QUICK,
            grace_seconds=GRACE_SECONDS,
        )
        async with running(mesh):
            yield mesh

    async def wait_copied(self, name: str, source: Entries, timeout: float = 15.0) -> None:
        """Until our etcd has exactly these entries of a cluster, and says that they are complete."""
        wanted = copy_of(source, name)

        async def is_so() -> bool:
            try:
                said = await announced(self.own, name)
                return await cached(self.own, name) == wanted and said == canaries(name, cached=True)
            except KVStoreError:
                return False

        await eventually(is_so, timeout, interval=0.1)


@pytest.fixture
def mirroring(etcds: Callable[..., RunningEtcd], tmp_path: Path) -> Mirroring:
    return Mirroring(etcds("own"), tmp_path / "peers")


@pytest.fixture
def west(etcds: Callable[..., RunningEtcd]) -> Source:
    return Source(etcds("west"), "west", 2)
