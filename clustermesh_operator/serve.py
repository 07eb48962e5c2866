"""The operator's composition root: the only place where its concrete parts meet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from aiokit import probes
from aiokit.http import serve_tcp
from aiokit.signals import wait_terminated
from clustermesh_operator.config import Config
from clustermesh_operator.operator import Operator
from clustermesh_operator.world import World
from k8s import access
from k8s.client import connect
from kvstore import etcd
from peering.peer import Connector
from peering.servicename import service_key


async def serve(config: Config) -> None:
    """Run until the process is asked to end; what it made stays."""
    async with connect(access.load_default(config.kubeconfig)) as client:
        operator = Operator(
            client,
            config.cluster,
            config.settings,
            directory=config.peers_directory,
            connector=connector,
        )
        app = probes.application(lambda: operator.world.is_listed, lambda: metrics(operator))
        async with serve_tcp(app, config.health_host, config.health_port), asyncio.TaskGroup() as group:
            work = group.create_task(operator.run(), name="operator")
            await wait_terminated()
            work.cancel()


def connector(world: World) -> Connector:
    """KVStoreMesh's copies are in our own cluster, behind a Service that is found without DNS."""

    def resolve(host: str) -> tuple[str, ...]:
        key = service_key(host)
        return world.addresses(key) if key else ()

    return partial(etcd.connect, resolve=resolve)


def metrics(operator: Operator) -> Iterable[Metric]:
    writes = CounterMetricFamily("clustermesh_operator_writes", "Objects written, changed or deleted.")
    writes.add_metric([], operator.applier.writes)
    failing = GaugeMetricFamily("clustermesh_operator_failing_objects", "Objects that cannot be written now.")
    failing.add_metric([], len(operator.applier.failures))
    ready = GaugeMetricFamily(
        "clustermesh_operator_remote_cluster_ready",
        "Whether all of a cluster's ServiceExports are known.",
        labels=["target_cluster"],
    )
    for name, peer in operator.peers.peers.items():
        ready.add_metric([name], float(peer.status().is_ready))
    return [writes, failing, ready]
