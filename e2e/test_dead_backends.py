"""A pod that dies while nobody can say so: its node answers, its cluster's control plane does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from aiokit.wait import eventually
from e2e.conftest import Mesh
from e2e.faults import PROXY, curls_counted, in_namespace, pids_of
from e2e.test_node_health import said
from k8s.resource import POD
from lab.demo.objects import NAMESPACE, deployment, service
from lab.demo.steps import until_answered_by
from lab.node import pod_record
from lab.paths import LabPaths
from lab.plan import NodePlan

QUIET = 60  # answers in a row: with one of four backends dead, no luck reaches so far
LOST_SECONDS = 40.0


@asynccontextmanager
async def speechless(mesh: Mesh, cluster: str) -> AsyncIterator[None]:
    """The API server and kubelets stand still, the mesh's proxy is dead; both are back afterwards."""
    (server,) = pids_of("-m lab.server", f"--lab {mesh.plan.name} ", f"--cluster {cluster}")
    (proxy,) = in_namespace(pids_of(*PROXY), mesh.plan.cluster(cluster).control.namespace)
    os.kill(server, signal.SIGSTOP)
    try:
        os.kill(proxy, signal.SIGKILL)
        yield
    finally:
        os.kill(server, signal.SIGCONT)
    await mesh.lab.command("status", "--context", "east", "--wait", "--wait-duration", "90s")


async def test_a_backend_that_died_unheard_is_not_used(mesh: Mesh) -> None:
    await until_answered_by(mesh.lab, mesh.clients["east"], mesh.url, {"east", "west"})
    victim = (await mesh.lab.wait_pods("west", "web", 2))[0]
    record = pod_record.choose(pod_record.all_of(LabPaths(mesh.lab.lab)), "west", victim)
    process = record.container("").process
    assert process is not None
    async with (
        curls_counted(mesh.lab, "east", mesh.clients["east"], mesh.url) as answers,
        speechless(mesh, "west"),
    ):
        os.kill(process.pid, signal.SIGKILL)
        count = len(answers)
        await eventually(lambda: any(not each.served_by for each in answers[count:]), 20)
        await eventually(lambda: all(each.served_by for each in answers[-QUIET:]), LOST_SECONDS)
        quiet = {answer.served_by for answer in answers[-QUIET:]}
        assert {name.partition("/")[0] for name in quiet} == {"east", "west"}  # and not all of west
        assert f"west/{victim}" not in quiet


async def test_a_backend_of_udp_alone_is_asked_for_an_echo_through_the_tunnel(mesh: Mesh) -> None:
    """Of both families. Its pod answers at first, then it does not, then it does again."""
    told = service("datagrams")
    told["spec"] |= {"ipFamilyPolicy": "RequireDualStack"}
    told["spec"]["ports"] = [{"name": "echo", "port": 80, "targetPort": 8080, "protocol": "UDP"}]
    asking = await mesh.node_of_client("east")
    start = echoes_answered(asking.namespace)
    await mesh.lab.apply("west", deployment("datagrams", replicas=1), told)
    await mesh.lab.apply("east", told)
    try:
        [name] = await mesh.lab.wait_pods("west", "datagrams", 1)
        own = await addresses(mesh, "west", name)
        pod = pod_record.choose(pod_record.all_of(LabPaths(mesh.lab.lab)), "west", name)
        # while its cluster is well one address is asked: who never answered is not asked when it is lost
        await eventually(lambda: echoes_answered(asking.namespace) != start, LOST_SECONDS, 0.2)
        before = echoes_answered(asking.namespace)
        async with speechless(mesh, "west"):
            await eventually(partial(were_answered, asking.namespace, before), LOST_SECONDS, 0.2)
            mute(pod.network, on=True)
            await eventually(partial(withdrawn, mesh, asking, own, own), LOST_SECONDS, 0.2)
            mute(pod.network, on=False)
            await eventually(partial(withdrawn, mesh, asking, own, frozenset()), LOST_SECONDS, 0.2)
    finally:
        for cluster, kind in (("east", "Service"), ("west", "Service"), ("west", "Deployment")):
            await mesh.lab.delete(cluster, kind, "datagrams")
        await mesh.lab.wait_pods("west", "datagrams", 0)  # its programs go too: other tests look at all


async def addresses(mesh: Mesh, cluster: str, pod: str) -> frozenset[str]:
    """Of both families."""
    async with mesh.lab.kubernetes(cluster) as api:
        told = json.loads(await api.get(POD, pod, NAMESPACE) or b"{}")
    return frozenset(each["ip"] for each in told["status"]["podIPs"])


async def withdrawn(mesh: Mesh, node: NodePlan, backends: frozenset[str], wanted: frozenset[str]) -> bool:
    """Whether a node uses all of these backends but the wanted ones."""
    return backends & (await said(mesh.lab, node, "status"))["backend-health"]["withdrawn"].keys() == wanted


def were_answered(network: str, before: tuple[int, int]) -> bool:
    return all(now > then for now, then in zip(echoes_answered(network), before, strict=True))


def echoes_answered(network: str) -> tuple[int, int]:
    """Echo replies that a namespace has had, of IPv4 and IPv6."""
    command = ["nsenter", f"--net=/run/netns/{network}", "cat", "/proc/net/snmp", "/proc/net/snmp6"]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout
    names, values = (line.split() for line in text.splitlines() if line.startswith("Icmp:"))
    six = next(line.split()[1] for line in text.splitlines() if line.startswith("Icmp6InEchoReplies "))
    return int(dict(zip(names, values, strict=True))["InEchoReps"]), int(six)


def mute(network: str, *, on: bool) -> None:
    """Whether the pod's kernel answers echoes."""
    switches = ("ipv4/icmp_echo_ignore_all", "ipv6/icmp/echo_ignore_all")
    script = "; ".join(f"echo {int(on)} > /proc/sys/net/{each}" for each in switches)
    subprocess.run(["nsenter", f"--net=/run/netns/{network}", "sh", "-c", script], check=True, timeout=10)
