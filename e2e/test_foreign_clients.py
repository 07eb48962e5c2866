"""Clients that we did not write, through the mTLS proxy: the `etcd3` package and etcdctl."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiokit.wait import eventually
from certs.check import load_chain
from e2e.conftest import Mesh
from e2e.faults import curls_counted
from e2e.members import etcdctl
from k8s.resource import CONFIGMAP, POD, SECRET

ROOT = Path(__file__).parent.parent
ETCD3_PYTHON = ROOT / ".venv-etcd3/bin/python"
WRITES = ("put", "delete", "lease", "read outside")


@pytest.fixture
async def remote_files(mesh: Mesh, tmp_path: Path) -> dict[str, str]:
    """East's client certificate for other clusters, as files."""
    async with mesh.lab.kubernetes("east") as client:
        raw = await client.get(SECRET, "clustermesh-apiserver-remote-cert", "kube-system")
    files = {}
    for name, text in msgspec.json.decode(raw or b"{}")["data"].items():
        path = tmp_path / name
        path.touch(0o600)
        path.write_bytes(base64.b64decode(text))
        files[name] = str(path)
    return files


def _run(mesh: Mesh, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In east's control-plane namespace, from where west's proxy is reached over the lab's network."""
    enter = ("nsenter", f"--net=/run/netns/{mesh.plan.cluster('east').control.namespace}")
    environment = os.environ | {"ETCDCTL_API": "3"}
    return subprocess.run(
        [*enter, *arguments], capture_output=True, text=True, timeout=60, env=environment, check=False
    )


def _etcd3(mesh: Mesh, files: dict[str, str]) -> dict[str, Any]:
    west = str(mesh.plan.cluster("west").control.ip)
    names = (files["ca.crt"], files["tls.crt"], files["tls.key"], "west.mesh.cilium.io")
    done = _run(mesh, str(ETCD3_PYTHON), str(ROOT / "e2e/etcd3_reader.py"), west, *names)
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def _directly(mesh: Mesh, prefix: str) -> dict[str, str]:
    """West's keys from its etcd itself, on its loopback; values in base64 (endpoint slices are binary)."""
    enter = ("nsenter", f"--net=/run/netns/{mesh.plan.cluster('west').control.namespace}")
    environment = os.environ | {"ETCDCTL_API": "3"}
    command = [*enter, "etcdctl", "--endpoints=127.0.0.1:2378", "get", "--prefix", prefix, "-w", "json"]
    done = subprocess.run(command, capture_output=True, timeout=30, env=environment, check=True)
    return {base64.b64decode(pair["key"]).decode(): pair["value"] for pair in json.loads(done.stdout)["kvs"]}


async def test_the_etcd3_package_reads_the_same_bytes_and_is_refused_a_write(
    mesh: Mesh, remote_files: dict[str, str]
) -> None:
    printed = _etcd3(mesh, remote_files)
    assert printed["pairs"] == _directly(mesh, "cilium/state/") | _directly(mesh, "cilium/synced/west/")
    assert len(printed["pairs"]) > 10
    assert {what: "permission denied" in text for what, text in printed["refusals"].items()} == dict.fromkeys(
        WRITES, True
    )


def _etcdctl(mesh: Mesh, files: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"ETCDCTL_API": "3"}
    command = _command(mesh, files, *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)


def _command(mesh: Mesh, files: dict[str, str], *arguments: str) -> list[str]:
    """etcdctl as east's client of west's API server."""
    enter = ("nsenter", f"--net=/run/netns/{mesh.plan.cluster('east').control.namespace}")
    tls = (f"--cacert={files['ca.crt']}", f"--cert={files['tls.crt']}", f"--key={files['tls.key']}")
    host = f"--endpoints=https://{mesh.plan.cluster('west').control.ip}:2379"
    # the lab has no DNS: etcdctl dials the address, which the certificate does not name
    return [*enter, "etcdctl", host, *tls, "--insecure-skip-tls-verify", *arguments]


async def test_etcdctl_reads_the_same_bytes_as_from_etcd_itself(
    mesh: Mesh, remote_files: dict[str, str]
) -> None:
    got = _etcdctl(mesh, remote_files, "get", "--prefix", "cilium/state/", "-w", "json")
    there = await etcdctl(mesh.plan.cluster("west"), "get", "--prefix", "cilium/state/", "-w", "json")
    assert json.loads(got.stdout)["kvs"] == json.loads(there)["kvs"]
    status = _etcdctl(mesh, remote_files, "endpoint", "status", "-w", "json")
    (shown,) = json.loads(status.stdout)
    assert shown["Status"]["header"]["cluster_id"] == json.loads(there)["header"]["cluster_id"]
    health = _etcdctl(mesh, remote_files, "endpoint", "health")
    assert "is healthy" in health.stdout + health.stderr


async def test_etcdctl_watches_what_happens(mesh: Mesh, remote_files: dict[str, str]) -> None:
    west = mesh.plan.cluster("west")
    key = "cilium/state/nodes/v1/west/watched"
    watch = await asyncio.create_subprocess_exec(
        *_command(mesh, remote_files, "watch", "--prefix", "cilium/state/nodes/v1/west/"),
        env=os.environ | {"ETCDCTL_API": "3"},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert watch.stdout is not None
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            printing = group.create_task(watch.stdout.readuntil(b"2\n"), name="printed")
            while not printing.done():  # the watch may not stand yet: go on until it tells of a change
                await etcdctl(west, "put", key, "1")
                await etcdctl(west, "put", key, "2")
                await asyncio.wait([printing], timeout=0.2)
        assert f"PUT\n{key}\n".encode() in printing.result()
    finally:
        watch.terminate()
        await asyncio.wait_for(watch.wait(), 10)
        await etcdctl(west, "del", key)


@pytest.mark.parametrize(
    "forbidden",
    [
        ("get", "--prefix", "cilium/cache/"),
        ("get", "--prefix", "cilium/"),
        ("get", "--from-key", ""),
        ("get", "cilium/cluster-config/east"),
        ("get", "--prefix", "cilium/cluster-config/"),
        ("get", "--prefix", "cilium/synced/east/"),
        ("put", "cilium/state/ip/v1/default/10.2.1.9", "{}"),
        ("del", "--prefix", "cilium/state/"),
        ("lease", "grant", "60"),
        ("compaction", "1"),
        ("defrag",),
        ("user", "list"),
    ],
    ids=" ".join,
)
async def test_what_is_not_granted_is_refused_counted_and_audited(
    mesh: Mesh, remote_files: dict[str, str], forbidden: tuple[str, ...]
) -> None:
    before = await _refused(mesh)
    done = _etcdctl(mesh, remote_files, *forbidden)
    assert done.returncode != 0
    assert done.stdout == ""
    assert await _refused(mesh) > before
    logs = await mesh.lab.command(
        "lab", "--name", mesh.plan.name, "logs", "west", "clustermesh-apiserver", "-c", "proxy"
    )
    assert "refused client='remote'" in logs


async def test_a_revoked_client_is_shut_out_while_it_watches_and_nobody_else_is(
    mesh: Mesh, remote_files: dict[str, str]
) -> None:
    """East's certificate is revoked in west: its streams end at once, curl goes on, and it may come back."""
    (leaf,) = load_chain(Path(remote_files["tls.crt"]).read_bytes())
    serial = f"{leaf.serial_number:x}"
    access = {"metadata": {"name": "clustermesh-revoked", "namespace": "kube-system"}}
    watch = await asyncio.create_subprocess_exec(
        *_command(mesh, remote_files, "watch", "--prefix", "cilium/state/"),
        env=os.environ | {"ETCDCTL_API": "3"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with curls_counted(mesh.lab, "east", mesh.clients["east"], mesh.url) as answers:
            async with mesh.lab.kubernetes("west") as client:
                text = f"revoked: [{{serial: '{serial}'}}]"
                await client.apply(CONFIGMAP, access | {"data": {"revoked.yaml": text}})
                await asyncio.wait_for(watch.wait(), 30)
                done = _etcdctl(mesh, remote_files, "get", "cilium/cluster-config/west")
                assert (done.returncode != 0, done.stdout) == (True, "")
                await eventually(lambda: _is_said(mesh), 30, 0.5)
                await client.apply(CONFIGMAP, access | {"data": {"revoked.yaml": "revoked: []"}})
            status = ("status", "--context", "east", "--wait", "--wait-duration", "60s")
            await mesh.lab.command(*status)
        assert [answer for answer in answers if not answer.served_by] == []
    finally:
        if watch.returncode is None:
            watch.terminate()
            await asyncio.wait_for(watch.wait(), 10)


async def _is_said(mesh: Mesh) -> bool:
    return "permission denied" in await mesh.lab.command("status", "--context", "east", check=False)


async def _refused(mesh: Mesh) -> float:
    """How many requests west's proxy has refused."""
    async with mesh.lab.kubernetes("west") as client:
        (raw,) = await client.list(POD, "kube-system", label_selector="k8s-app=clustermesh-apiserver")
        name = msgspec.json.decode(raw)["metadata"]["name"]
        text = (await client.proxy_get(name, "kube-system", 9882, "/metrics")).decode()
    lines = [line for line in text.splitlines() if line.startswith("clustermesh_proxy_refused_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def test_no_client_certificate_no_answer(mesh: Mesh, remote_files: dict[str, str]) -> None:
    host = f"--endpoints=https://{mesh.plan.cluster('west').control.ip}:2379"
    done = _run(
        mesh,
        *("etcdctl", host, "--insecure-skip-tls-verify", "--dial-timeout=2s", "--command-timeout=3s"),
        *("get", "cilium/.heartbeat"),
    )
    assert done.returncode != 0
    assert done.stdout == ""
