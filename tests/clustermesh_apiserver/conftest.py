"""A Kubernetes API with one object of each kind, and an etcd for the mesh: both real."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from k8s.client import Client
from k8s.client import connect as connect_kubernetes
from tests.clustermesh_apiserver.kubernetes import Kubernetes, create_everything, with_kinds
from tests.conftest import RunningEtcd


@pytest.fixture
async def kubernetes(etcds: Callable[..., RunningEtcd], tmp_path: Path) -> AsyncIterator[Kubernetes]:
    """A running API with one object of each kind."""
    api = Kubernetes(etcds("kube").endpoint, tmp_path)
    async with api.serving():
        async with with_kinds(api) as client:
            await create_everything(client)
        yield api


@pytest.fixture
async def client(kubernetes: Kubernetes) -> AsyncIterator[Client]:
    async with connect_kubernetes(kubernetes.access) as client:
        yield client


@pytest.fixture
def mesh_etcd(etcds: Callable[..., RunningEtcd]) -> RunningEtcd:
    return etcds("mesh")
