"""A whole cluster: one control-plane node, one worker, real etcd, real processes."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aiokit.wait import eventually
from k8s.access import load
from k8s.client import Client, connect
from k8s.resource import CONFIGMAP, DEPLOYMENT, ENDPOINTSLICE, NODE, POD, SECRET, SERVICE
from lab import cgroup, netns, plan, record, up
from lab.errors import LabError, MissingRequirementError
from lab.node import pod_record
from lab.node.node_context import base_environment
from lab.paths import LabPaths
from lab.process import Process
from tests.lab.fake_agent import FakeAgent

COMMAND_SECONDS = 40.0
HOST = {"hostNetwork": True, "nodeSelector": {"kubernetes.io/hostname": "node-1"}}


def command(lab: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "cli", "lab", "--name", lab, *arguments]


def run(lab: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(lab, *arguments), capture_output=True, text=True, timeout=COMMAND_SECONDS)


async def arun(lab: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(run, lab, *arguments)


def leftovers(lab: str) -> list[str]:
    """Everything on this machine that carries the lab's name."""
    places = [
        LabPaths(lab).root,
        plan.cgroup(cgroup.root(), lab),
        plan.BPF_ROOT / "clustermesh" / lab,
    ]
    found = [str(place) for place in places if place.exists()]
    found += netns.names(plan.namespace_prefix(lab))
    mounts = Path("/proc/self/mountinfo").read_text()
    found += [line for line in mounts.splitlines() if f"/{lab}/" in line or f"cm-{lab}-" in line]
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if each.name != str(os.getpid()) and lab in (each / "cmdline").read_text():
                found.append((each / "cmdline").read_text())
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def lab() -> Iterator[str]:
    name = "t" + secrets.token_hex(4)
    started = run(name, "up", "--clusters", "1", "--nodes", "1", "-o", "json")
    assert started.returncode == 0, started.stderr
    assert json.loads(started.stdout)["kubeconfig"] == str(LabPaths(name).kubeconfig)
    yield name
    ended = run(name, "down")
    assert ended.returncode == 0, ended.stderr
    assert leftovers(name) == []


@pytest.fixture
async def client(lab: str) -> AsyncIterator[Client]:
    async with connect(load(LabPaths(lab).kubeconfig, "east")) as connected:
        yield connected


async def get(client: Client, resource: Any, name: str, namespace: str = "default") -> dict[str, Any] | None:
    raw = await client.get(resource, name, namespace if resource.namespaced else "")
    return json.loads(raw) if raw else None


async def pods_of(client: Client, app: str) -> list[dict[str, Any]]:
    return [json.loads(raw) for raw in await client.list(POD, "default", label_selector=f"app={app}")]


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


@asynccontextmanager
async def deployed(
    client: Client, name: str, *, replicas: int = 1, container: dict[str, Any] | None = None, **spec: Any
) -> AsyncIterator[None]:
    """A Deployment while the block runs; its pods are gone afterwards."""
    main = {"name": "main", "image": "clustermesh.io/lab-sleep", **(container or {})}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [main], **spec}}
    body = {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }
    await client.create(DEPLOYMENT, body)
    try:
        yield
    finally:
        await client.delete(DEPLOYMENT, name, "default")
        await eventually(lambda: _is_gone(client, name), 20)


async def _is_gone(client: Client, app: str) -> bool:
    return await pods_of(client, app) == []


async def wait_ready(client: Client, app: str, count: int = 1) -> list[dict[str, Any]]:
    async def are_ready() -> bool:
        pods = await pods_of(client, app)
        return len(pods) == count and all(map(is_ready, pods))

    await eventually(are_ready, 20)
    return await pods_of(client, app)


def agent_socket(lab: str) -> Path:
    return LabPaths(lab).node(record.read(lab).plan.clusters[0].nodes[1]).agent_socket


async def test_a_new_cluster_has_its_nodes_and_knows_who_it_is(client: Client) -> None:
    node = await get(client, NODE, "node-1")
    assert node is not None
    assert node["spec"]["podCIDR"] == "10.1.1.0/24"
    own = [each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP"]
    assert own == ["198.18.1.11", "fd00:18::1:b"]
    control = await get(client, NODE, "control")
    assert control is not None and plan.CONTROL_LABEL in control["metadata"]["labels"]
    config = await get(client, CONFIGMAP, "cilium-config", "kube-system")
    assert config is not None
    assert config["data"] == {"cluster-name": "east", "cluster-id": "1", "max-connected-clusters": "255"}
    authority = await get(client, SECRET, "cilium-ca", "kube-system")
    assert authority is not None and set(authority["data"]) == {"ca.crt", "ca.key"}


async def test_a_second_lab_of_that_name_is_refused(lab: str) -> None:
    refused = await arun(lab, "up")
    assert refused.returncode == 1
    assert "is up already" in refused.stderr
    assert (await arun(lab, "status")).returncode == 0


async def test_a_server_on_the_nodes_network_becomes_ready_and_is_entered(lab: str, client: Client) -> None:
    echo = {
        "image": "clustermesh.io/lab-echo",
        "args": ["8091"],
        "ports": [{"name": "http", "containerPort": 8091}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
    }
    async with deployed(client, "hostecho", container=echo, **HOST):
        (pod,) = await wait_ready(client, "hostecho")
        assert pod["status"]["podIP"] == "198.18.1.11"
        inside = await arun(lab, "exec", "east", "hostecho", "--", "curl", "-s", "198.18.1.11:8091")
        assert json.loads(inside.stdout)["pod"] == pod["metadata"]["name"]
        ended = await arun(lab, "exec", "east", "hostecho", "--", "sh", "-c", "ls /var/lib; exit 7")
        assert (ended.returncode, ended.stdout) == (7, "")
        logged = await arun(lab, "logs", "east", "hostecho")
        assert "listening on 0.0.0.0:8091" in logged.stdout
        listed = json.loads((await arun(lab, "ps", "-o", "json")).stdout)
        assert [each["pod"] for each in listed] == [pod["metadata"]["name"]]
    assert json.loads((await arun(lab, "ps", "-o", "json")).stdout) == []


async def test_a_pod_waits_for_the_agent_and_then_runs_in_its_own_network(lab: str, client: Client) -> None:
    async with deployed(client, "netpod"):

        async def says_why() -> bool:
            pods = await pods_of(client, "netpod")
            text = "network not ready: the agent on node node-1 does not answer"
            return bool(pods) and text in json.dumps(pods[0].get("status", {}))

        await eventually(says_why, 20)
        agent = FakeAgent()
        async with agent.serving(agent_socket(lab)):
            (pod,) = await wait_ready(client, "netpod")
            assert pod["status"]["podIP"] in agent.addresses
            found = await arun(lab, "exec", "east", "netpod", "--", "ip", "-o", "-4", "addr", "show", "eth0")
            assert f"inet {pod['status']['podIP']}/32" in found.stdout
            own = await arun(lab, "exec", "east", "netpod", "--", "cat", "/proc/self/cgroup")
            assert f"/clustermesh/{lab}/east/node-1/pods/{pod['metadata']['uid']}" in own.stdout
            await client.delete(DEPLOYMENT, "netpod", "default")
            await eventually(lambda: not agent.addresses and not agent.endpoints, 20)
    assert [name for name in netns.names(plan.namespace_prefix(lab)) if "." in name] == []


async def test_a_changed_secret_reaches_the_pods_files(lab: str, client: Client) -> None:
    secret = {"metadata": {"name": "conf", "namespace": "default"}, "stringData": {"a": "one"}}
    await client.apply(SECRET, secret)
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/var/lib/v"}]}
    volume = [{"name": "v", "secret": {"secretName": "conf"}}]
    async with deployed(client, "files", container=mount, volumes=volume, **HOST):
        await wait_ready(client, "files")
        seen = await arun(lab, "exec", "east", "files", "--", "cat", "/var/lib/v/a")
        assert seen.stdout == "one"
        await client.apply(SECRET, {**secret, "stringData": {"a": "two"}})

        async def is_new() -> bool:
            return (await arun(lab, "exec", "east", "files", "--", "cat", "/var/lib/v/a")).stdout == "two"

        await eventually(is_new, 5)


async def test_a_pod_waits_for_a_secret_that_does_not_exist_yet(client: Client) -> None:
    volume = [{"name": "v", "secret": {"secretName": "later"}}]
    async with deployed(client, "early", volumes=volume, **HOST):

        async def says_why() -> bool:
            return "secret later does not exist" in json.dumps(await pods_of(client, "early"))

        await eventually(says_why, 20)
        await client.create(SECRET, {"metadata": {"name": "later", "namespace": "default"}})
        await wait_ready(client, "early")


async def test_a_killed_container_is_started_again(lab: str, client: Client) -> None:
    async with deployed(client, "mortal", **HOST):
        (pod,) = await wait_ready(client, "mortal")
        chosen = pod_record.choose(pod_record.all_of(LabPaths(lab)), "east", "mortal")
        before = chosen.container().process
        assert before is not None
        before.send(signal.SIGKILL)

        async def is_again() -> bool:
            (status,) = (await pods_of(client, "mortal"))[0]["status"]["containerStatuses"]
            return bool(status["restartCount"] == 1 and status["ready"])

        await eventually(is_again, 20)
        assert (await pods_of(client, "mortal"))[0]["metadata"]["uid"] == pod["metadata"]["uid"]


async def test_a_deleted_pod_is_shown_as_terminating_until_its_process_ended(
    lab: str, client: Client
) -> None:
    stubborn = {"command": ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]}
    ports = {"spec": {"selector": {"app": "slow"}, "ports": [{"name": "p", "port": 80}]}}
    await client.create(SERVICE, {"metadata": {"name": "slow", "namespace": "default"}, **ports})
    async with deployed(client, "slow", container=stubborn, terminationGracePeriodSeconds=2, **HOST):
        await wait_ready(client, "slow")
        await client.merge_patch(DEPLOYMENT, "slow", {"spec": {"replicas": 0}}, "default")

        async def is_terminating() -> bool:
            slices = [json.loads(raw) for raw in await client.list(ENDPOINTSLICE, "default")]
            found = [each["conditions"] for one in slices for each in one.get("endpoints") or []]
            return found == [{"ready": False, "serving": True, "terminating": True}]

        await eventually(is_terminating, 10)
        await eventually(lambda: _is_gone(client, "slow"), 10)
    await client.delete(SERVICE, "slow", "default")


async def test_unknown_names_are_plain_errors(lab: str) -> None:
    for arguments, words in (
        (("exec", "west", "x", "--", "true"), "has no cluster west; it has east"),
        (("exec", "east", "nobody", "--", "true"), "runs no pod nobody"),
        (("logs", "east", "nobody"), "runs no pod nobody"),
        (("kubectl", "west", "get", "pods"), "has no cluster west"),
    ):
        refused = await arun(lab, *arguments)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert words in refused.stderr and "Traceback" not in refused.stderr
    absent = await arun("nosuch", "status")
    assert absent.returncode == 1 and "lab nosuch is not up" in absent.stderr


@pytest.fixture
def name() -> Iterator[str]:
    """A lab of the test's own; whatever the test leaves is removed."""
    made = "t" + secrets.token_hex(4)
    yield made
    run(made, "down")


async def test_a_lab_whose_server_was_killed_is_removed_completely(name: str) -> None:
    assert (await arun(name, "up", "--clusters", "1", "--nodes", "1")).returncode == 0
    async with connect(load(LabPaths(name).kubeconfig, "east")) as client:
        spec = {"containers": [{"name": "c", "image": "clustermesh.io/lab-sleep"}], **HOST}
        await client.create(POD, {"metadata": {"name": "p", "namespace": "default"}, "spec": spec})
        await eventually(lambda: bool(pod_record.all_of(LabPaths(name))), 20)
        await eventually(lambda: pod_record.all_of(LabPaths(name))[0].is_ready, 20)
    container = pod_record.all_of(LabPaths(name))[0].container().process
    server = record.read_server(LabPaths(name), "east")
    assert server is not None and isinstance(container, Process)
    server.process.send(signal.SIGKILL)
    await eventually(lambda: not container.is_alive, 10)
    assert (await arun(name, "status")).returncode == 1
    assert (await arun(name, "down")).returncode == 0
    assert leftovers(name) == []


async def test_a_killed_server_started_again_serves_the_same_pods_on_the_same_port(name: str) -> None:
    assert (await arun(name, "up", "--clusters", "1", "--nodes", "1")).returncode == 0
    access = load(LabPaths(name).kubeconfig, "east")
    async with connect(access) as client, deployed(client, "again", **HOST):
        (pod,) = await wait_ready(client, "again")
        before = pod_record.all_of(LabPaths(name))[0].container().process
        server = record.read_server(LabPaths(name), "east")
        assert server is not None
        server.process.send(signal.SIGKILL)
        await eventually(lambda: not server.process.is_alive, 10)
        restart = [sys.executable, "-m", "lab.server", "--lab", name, "--cluster", "east"]
        log = LabPaths(name).cluster("east").log.open("ab")
        process = subprocess.Popen(restart, stdout=log, stderr=log, start_new_session=True)

        async def is_back() -> bool:
            found = pod_record.all_of(LabPaths(name))
            return bool(found) and found[0].is_ready and found[0].container().process != before

        await eventually(is_back, 30)
        (again,) = await wait_ready(client, "again")
        assert again["metadata"]["uid"] == pod["metadata"]["uid"]
    process.terminate()
    assert await asyncio.to_thread(process.wait, 20) == 0
    log.close()
    assert cgroup.members(plan.cgroup(cgroup.root(), name)) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_leaves_nothing(name: str, number: signal.Signals) -> None:
    process = subprocess.Popen(
        command(name, "up", "--clusters", "2", "--nodes", "1"), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 20
    while not (LabPaths(name).cluster("east").server.exists() or time.monotonic() > deadline):
        time.sleep(0.005)  # until it is certainly in the middle
    process.send_signal(number)
    _, said = process.communicate(timeout=COMMAND_SECONDS)
    assert process.returncode == 130, said
    assert "nothing is left" in said
    assert leftovers(name) == []


def test_down_after_up_was_killed_half_way_leaves_nothing(name: str) -> None:
    process = subprocess.Popen(
        command(name, "up", "--clusters", "1", "--nodes", "1"), stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 20
    while not (LabPaths(name).cluster("east").server.exists() or time.monotonic() > deadline):
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert run(name, "down").returncode == 0
    assert leftovers(name) == []
    again = run(name, "down", "-o", "json")
    assert json.loads(again.stdout)["processes"] == 0


async def test_a_server_that_cannot_start_is_explained_and_undone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etcd").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "etcd").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    monkeypatch.setattr(up, "base_environment", lambda ours: {**base_environment(ours), "PATH": path})
    said: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        await up.up(plan.make(name, ["east"], 1), said.append)
    assert caught.group_contains(LabError, match="does not start:(.|\n)*etcd ended with status 3")
    assert said[-1] == "removing what was made"
    assert leftovers(name) == []


async def test_a_machine_that_lacks_something_is_told_so_and_not_changed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up.preflight, "missing", lambda: "cgroup v2 is not mounted")
    monkeypatch.setattr(up, "which", lambda program: None if program == "etcd" else program)
    with pytest.raises(MissingRequirementError) as caught:
        await up.up(plan.make(name, ["east"], 1), lambda _: None)
    assert caught.value.missing == ["cgroup v2 is not mounted", "the program etcd is not installed"]
    assert leftovers(name) == []
