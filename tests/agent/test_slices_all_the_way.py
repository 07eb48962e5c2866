"""From a cluster's Kubernetes objects through its etcd to our services table, as services and as slices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aiokit.wait import eventually
from clustermesh_apiserver import exporters
from clustermesh_apiserver.publisher import Publisher
from clustermesh_apiserver.serve import running
from k8s.resource import ENDPOINTSLICE, SERVICE
from kvstore.memory import MemoryBackend
from mesh.addressing import ClusterID, ClusterName, PeerScope
from mesh.keys import Kind
from mesh.servicemode import ServiceMode
from tests import virtual
from tests.agent.peerdata import FILE
from tests.agent.test_peer_time import West
from tests.agent.values import LAYOUT
from tests.clustermesh_apiserver import objects as o
from tests.clustermesh_apiserver.scripted import ScriptedKubernetes

SCOPE = PeerScope(ClusterName("west"), ClusterID(2), LAYOUT)


@asynccontextmanager
async def exporting(
    store: MemoryBackend, kubernetes: ScriptedKubernetes, mode: ServiceMode
) -> AsyncIterator[None]:
    @asynccontextmanager
    async def connect() -> AsyncIterator[MemoryBackend]:
        yield store.another_client()

    built = exporters.build(SCOPE, kubernetes.follow, default_global_namespace=True, mode=mode)
    publisher = Publisher(connect, SCOPE, built, lease_ttl_seconds=900, mode=mode)
    async with running(publisher, built):
        await eventually(lambda: publisher.report().ready, timeout=60)
        yield


@pytest.mark.parametrize("writing", ServiceMode)
@pytest.mark.parametrize("reading", ServiceMode)
def test_whoever_reads_and_writes_in_whatever_mode_the_backends_are_the_same(
    writing: ServiceMode, reading: ServiceMode
) -> None:
    async def live() -> None:
        west, kubernetes = West(mode=reading), ScriptedKubernetes()
        kubernetes.put(SERVICE, o.service_body())
        kubernetes.put(ENDPOINTSLICE, o.slice_body("web-1", o.backend("10.2.1.4"), o.backend("10.2.1.5")))
        async with exporting(west.wire.store, kubernetes, writing), asyncio.TaskGroup() as group:
            task = group.create_task(west.peer.run(FILE), name="peer")
            await west.ready()
            assert west.backends == {"10.2.1.4", "10.2.1.5"}
            kubernetes.put(ENDPOINTSLICE, o.slice_body("web-1", o.backend("10.2.1.4")))
            kubernetes.put(ENDPOINTSLICE, o.slice_body("web-2", o.backend("10.2.1.6")))
            await eventually(lambda: west.backends == {"10.2.1.4", "10.2.1.6"}, timeout=60)
            is_sliced = Kind.ENDPOINTSLICES in west.peer.status().kinds
            assert is_sliced == (
                writing is ServiceMode.ONLY_ENDPOINTSLICE or reading is not ServiceMode.PREFER_LEGACY
            )
            kubernetes.put(SERVICE, o.service_body(annotations={}))
            await eventually(lambda: west.backends == set(), timeout=60)
            assert west.state.counts().refusals == {}
            task.cancel()

    virtual.run(live())
