"""`lab up`: lays a lab out, starts a server per cluster, and hands over a kubeconfig.

All or nothing: whatever goes wrong, and whoever interrupts it, what was made is removed again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from shutil import which
from typing import Any

from aiokit.wait import eventually
from certs.issue import Authority, Issued
from k8s.access import Access
from k8s.client import Client, connect
from k8s.errors import KubernetesError
from k8s.resource import CONFIGMAP, NODE, SECRET
from lab import bpffs, cgroup, credentials, down, lock, network, plan, preflight, private_file, record
from lab.credentials import Credentials, base64_of
from lab.errors import LabError, MissingRequirementError
from lab.node.node_context import base_environment
from lab.paths import LabPaths
from lab.plan import ClusterPlan, LabPlan
from lab.record import LabRecord

READY_SECONDS = 60.0  # two idle cores take two seconds for two clusters; busy ones much longer
MAX_CONNECTED_CLUSTERS = 255
LOG_LINES = 15  # of a server that ended, shown to whoever started it
PROGRAMS = ("etcd", "nsenter", "unshare", "setpriv", "mount", "sh")

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
Say = Callable[[str], None]
Provision = tuple[Any, dict[str, Any]]  # the resource, and an object of it


def check(lab: LabPlan) -> None:
    """Raises LabError when the lab cannot be started; changes nothing."""
    missing = [reason] if (reason := preflight.missing()) else []
    missing += [f"the program {name} is not installed" for name in PROGRAMS if which(name) is None]
    if missing:
        raise MissingRequirementError(missing)
    if down.servers(LabPaths(lab.name)):
        raise LabError(f"lab {lab.name} is up already: clustermesh lab --name {lab.name} down")


async def up(lab: LabPlan, say: Say, config: Mapping[str, str] | None = None) -> Path:
    """Bring a lab up; its kubeconfig. `config`: keys of every cluster's ConfigMap cilium-config.

    Raises LabError, and then nothing is left.
    """
    check(lab)
    paths = LabPaths(lab.name)
    paths.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock.held(paths.root, wait_seconds=0), undone_on_error(paths, say):
        if down.clear(paths).anything:
            say(f"removed what was left of an earlier lab {lab.name}")
        return await _build(lab, paths, say, config or {})


@contextmanager
def undone_on_error(paths: LabPaths, say: Say) -> Iterator[None]:
    try:
        yield
    except BaseException:
        # a second Ctrl-C must not leave half a lab behind
        before = {number: signal.signal(number, signal.SIG_IGN) for number in _INTERRUPTS}
        say("removing what was made")
        try:
            down.tear_down(paths)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        raise


async def _build(lab: LabPlan, paths: LabPaths, say: Say, config: Mapping[str, str]) -> Path:
    first = lab.clusters[0]
    names = [each.name for each in lab.clusters]
    record.write(paths, LabRecord(lab.name, names, len(first.nodes) - 1, first.control.ipv6))
    bpffs.mount(paths.state_root)
    await asyncio.to_thread(network.build, lab)
    say(f"network: {len(lab.nodes)} nodes in {len(lab.clusters)} clusters")
    now = datetime.now(UTC)
    kubernetes = Authority.create(now, name="clustermesh lab")
    mesh = Authority.create(now).issued
    contexts: dict[str, tuple[str, Credentials]] = {}
    async with asyncio.TaskGroup() as group:
        for cluster in lab.clusters:
            own = credentials.make(kubernetes, cluster, now)
            credentials.write(paths.cluster(cluster.name).credentials, own)
            contexts[cluster.name] = ("", own)
            name = f"start {cluster.name}"
            begin = partial(provisions, cluster, mesh, config)
            group.create_task(_start_cluster(paths, cluster, contexts, begin, say), name=name)
    private_file.write(paths.kubeconfig, credentials.kubeconfig(contexts))
    return paths.kubeconfig


async def _start_cluster(
    paths: LabPaths,
    cluster: ClusterPlan,
    contexts: dict[str, tuple[str, Credentials]],
    begin: Callable[[], list[Provision]],
    say: Say,
) -> None:
    process = spawn(paths, cluster.name)
    await wait_ready(paths, cluster.name, process)
    ready = record.read_ready(paths, cluster.name)
    assert ready is not None
    url, own = f"https://127.0.0.1:{ready.port}", contexts[cluster.name][1]
    contexts[cluster.name] = (url, own)
    async with connect(Access(url, own.authority_pem, own.token)) as client:
        for resource, body in begin():
            await client.apply(resource, body)
        await _wait_nodes(client, len(cluster.nodes))
    say(f"cluster {cluster.name}: {url}")


def spawn(paths: LabPaths, cluster: str) -> subprocess.Popen[bytes]:
    """Start a cluster's server; it outlives us."""
    files = paths.cluster(cluster)
    files.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(files.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.server", "--lab", paths.lab, "--cluster", cluster],
            stdin=subprocess.DEVNULL,
            stdout=fd,
            stderr=fd,
            env=base_environment(os.environ),
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(fd)
    # at once, so that `lab down` finds it however early it comes
    group = plan.system_cgroup(cgroup.root(), paths.lab) / cluster / "server"
    cgroup.create(group)
    cgroup.join(group, process.pid)
    return process


async def wait_ready(paths: LabPaths, cluster: str, process: subprocess.Popen[bytes]) -> None:
    """Raises LabError with the log's end when the server ends or is not ready in time."""

    def is_settled() -> bool:
        return process.poll() is not None or record.read_ready(paths, cluster) is not None

    try:
        await eventually(is_settled, READY_SECONDS)
    except TimeoutError as error:
        raise LabError(f"cluster {cluster} is not ready within {READY_SECONDS:g} s") from error
    if process.poll() is not None:
        lines = paths.cluster(cluster).log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        raise LabError(f"cluster {cluster} does not start:\n" + "\n".join(lines))


def provisions(cluster: ClusterPlan, mesh: Issued, settings: Mapping[str, str]) -> list[Provision]:
    """What Cilium would have left in a cluster: who it is, its settings, and the mesh's authority. Pure."""
    config = {
        **settings,
        "cluster-name": cluster.name,
        "cluster-id": str(cluster.id),
        "max-connected-clusters": str(MAX_CONNECTED_CLUSTERS),
    }
    authority = {"ca.crt": base64_of(mesh.certificate_pem), "ca.key": base64_of(mesh.key_pem)}
    return [
        (CONFIGMAP, {"metadata": {"name": "cilium-config", "namespace": "kube-system"}, "data": config}),
        (
            SECRET,
            {
                "metadata": {"name": "cilium-ca", "namespace": "kube-system"},
                "type": "Opaque",
                "data": authority,
            },
        ),
    ]


async def _wait_nodes(client: Client, count: int) -> None:
    async def are_there() -> bool:
        return len(await client.list(NODE)) == count

    try:
        await eventually(are_there, READY_SECONDS)
    except (TimeoutError, KubernetesError) as error:
        raise LabError(f"the nodes do not register: {error}") from error
