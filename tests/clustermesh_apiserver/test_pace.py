"""Everything is published at once, later changes at the rate that was asked for."""

from __future__ import annotations

from functools import partial

from aiokit.wait import eventually
from clustermesh_apiserver.pace import Pace
from k8s.resource import CILIUMENDPOINT
from kvstore.memory import MemoryBackend
from tests import virtual
from tests.clustermesh_apiserver import objects as o
from tests.clustermesh_apiserver.scripted import ScriptedKubernetes
from tests.clustermesh_apiserver.test_publisher import a_cluster, publishing


def is_stored(etcd: MemoryBackend, ip: str) -> bool:
    return f"cilium/state/ip/v1/default/{ip}".encode() in etcd.entries


def test_the_bootstrap_is_quick_and_changes_afterwards_are_bounded() -> None:
    async def publish() -> tuple[float, float]:
        etcd, kubernetes = MemoryBackend(), a_cluster(ScriptedKubernetes())
        async with publishing(etcd, kubernetes, pace=Pace(rate=2.0, bootstrap_rate=1000.0)) as publisher:
            await eventually(lambda: publisher.report().ready, timeout=600)
            ready_after = virtual.now()
            for number in range(10):
                ip = f"10.3.7.{number}"
                kubernetes.put(CILIUMENDPOINT, o.endpoint_body(f"p-{number}", ip))
                await eventually(partial(is_stored, etcd, ip), timeout=600)
            return ready_after, virtual.now() - ready_after

    bootstrap, changes = virtual.run(publish())
    assert bootstrap < 1.0
    assert 3.0 < changes < 6.0
