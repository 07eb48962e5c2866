"""One cluster of a lab in one process: etcd, the Kubernetes API, controllers, and a kubelet per node.

Everything runs in the control-plane node's network; only a listening socket on the machine's loopback,
opened before, leads in from outside. Starts in written order and stops in reverse. `python -m lab.server`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from aiokit.failure import leaves
from aiokit.log import configure
from aiokit.signals import wait_terminated
from k8s.access import Access
from k8s.client import Client, connect
from kvstore import etcd
from kvstore.config import EtcdConfig
from lab import cgroup, credentials, etcd_child, netns, plan, private_file, record
from lab.api import server as api
from lab.control.controllers import Controllers
from lab.errors import LabError
from lab.node.agent_client import AgentClient
from lab.node.kubelet import Kubelet
from lab.node.node_context import NodeContext
from lab.node.pod_runtime import ClusterRuntime
from lab.node.podnet import PodNetwork
from lab.node.sources import ClusterSources
from lab.paths import LabPaths
from lab.plan import ClusterPlan, NodePlan
from lab.process import Process, identify
from lab.record import Ready, ServerRecord

_BACKLOG = 1024
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Config:
    paths: LabPaths
    cluster: ClusterPlan


async def serve(config: Config, outside: socket.socket) -> None:
    """Until told to end. Raises LabError when the cluster cannot start or its etcd ends."""
    cluster, files = config.cluster, config.paths.cluster(config.cluster.name)
    own = credentials.read(files.credentials)
    inside = listening(str(cluster.control.ip), plan.API_PORT)
    runtime = ClusterRuntime()
    access = Access(credentials.inside_url(cluster), own.authority_pem, own.token)
    async with (
        etcd_child.running(cluster.name, files.etcd_data, files.etcd_log) as process,
        etcd.connect(EtcdConfig((f"http://127.0.0.1:{plan.KUBE_ETCD_PORT}",))) as backend,
        api.serving(
            backend,
            sockets=[outside, inside],
            tls=credentials.server_context(files.credentials),
            token=own.token,
            service_cidr=str(cluster.service_cidr),
            service_cidr6=str(cluster.service_cidr6 or ""),
            runtime=runtime,
        ),
        connect(access) as client,
        working(config, client, runtime, process),
    ):
        private_file.write(files.ready, msgspec.json.encode(Ready(outside.getsockname()[1])))
        log.info("cluster %s is ready", cluster.name)
        await wait_terminated()
        files.ready.unlink(missing_ok=True)
    log.info("cluster %s has ended", cluster.name)


@asynccontextmanager
async def working(
    config: Config, client: Client, runtime: ClusterRuntime, process: asyncio.subprocess.Process
) -> AsyncGenerator[None]:
    """Controllers and kubelets while the block runs."""
    sources = ClusterSources()
    runtime.kubelets += [Kubelet(_context(config, node, client, sources)) for node in config.cluster.nodes]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_watch_etcd(process), name="etcd"),
            group.create_task(sources.run(client), name="sources"),
            group.create_task(Controllers(client).run(), name="controllers"),
        ]
        for kubelet in runtime.kubelets:
            name = f"kubelet {kubelet.node.plan.name}"
            tasks.append(group.create_task(kubelet.run(), name=name))
        yield
        for task in tasks:
            task.cancel()


async def _watch_etcd(process: asyncio.subprocess.Process) -> None:
    code = await process.wait()
    raise LabError(f"etcd ended with status {code}")


def _context(config: Config, node: NodePlan, client: Client, sources: ClusterSources) -> NodeContext:
    files = config.paths.node(node)
    return NodeContext(
        plan=node,
        paths=files,
        cluster_paths=config.paths.cluster(node.cluster),
        cgroup2=cgroup.root(),
        client=client,
        sources=sources,
        network=PodNetwork(AgentClient(node.name, files.agent_socket), files.addresses),
    )


def listening(host: str, port: int) -> socket.socket:
    """A socket in the caller's network namespace; port 0 means any."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.bind((host, port))
    opened.listen(_BACKLOG)
    return opened


def prepare(config: Config) -> socket.socket:
    """What must happen before there are threads: note who we are, join the cgroup, change the network."""
    cluster, files = config.cluster, config.paths.cluster(config.cluster.name)
    before = record.read_server(config.paths, cluster.name)
    files.ready.unlink(missing_ok=True)
    group = server_cgroup(config)
    cgroup.create(group)
    cgroup.join(group)
    own = credentials.read(files.credentials)
    inner = credentials.kubeconfig({cluster.name: (credentials.inside_url(cluster), own)})
    private_file.write(files.kubelet_kubeconfig, inner)
    # after a crash the same port again: kubeconfigs name it
    outside = listening("127.0.0.1", before.port if before else 0)
    me = ServerRecord(identify(os.getpid()) or Process(os.getpid(), 0), outside.getsockname()[1])
    private_file.write(files.server, msgspec.json.encode(me))
    netns.enter(cluster.control.namespace)
    return outside


def server_cgroup(config: Config) -> Path:
    return plan.system_cgroup(cgroup.root(), config.paths.lab) / config.cluster.name / "server"


@click.command()
@click.option("--lab", required=True)
@click.option("--cluster", required=True)
@click.option("--log-level", default="info")
def main(lab: str, cluster: str, log_level: str) -> None:
    """Run one cluster of a lab that `lab up` has laid out."""
    configure(log_level)
    status = 0  # an exit inside `except*` would be wrapped like an error
    try:
        config = Config(LabPaths(lab), record.read(lab).plan.cluster(cluster))
        asyncio.run(serve(config, prepare(config)))
    except* (LabError, OSError) as group:
        for error in leaves(group):
            log.error("ended: %s", error)
        status = 1
    sys.exit(status)


if __name__ == "__main__":
    main()
