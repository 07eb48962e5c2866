"""Clients that we did not write, through the mTLS proxy: the `etcd3` package and etcdctl."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from e2e.conftest import Mesh
from k8s.resource import SECRET

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
    tls = (f"--cacert={files['ca.crt']}", f"--cert={files['tls.crt']}", f"--key={files['tls.key']}")
    host = f"--endpoints=https://{mesh.plan.cluster('west').control.ip}:2379"
    # the lab has no DNS: etcdctl dials the address, which the certificate does not name
    return _run(mesh, "etcdctl", host, *tls, "--insecure-skip-tls-verify", *arguments)


async def test_etcdctl_works_unmodified_and_is_refused_a_write(
    mesh: Mesh, remote_files: dict[str, str]
) -> None:
    got = _etcdctl(mesh, remote_files, "get", "cilium/cluster-config/west", "--print-value-only")
    assert json.loads(got.stdout)["id"] == 2
    health = _etcdctl(mesh, remote_files, "endpoint", "status", "-w", "json")
    assert health.returncode == 0, health.stderr
    put = _etcdctl(mesh, remote_files, "put", "cilium/state/x", "y")
    assert (put.returncode != 0, "permission denied" in put.stderr) == (True, True)


async def test_no_client_certificate_no_answer(mesh: Mesh, remote_files: dict[str, str]) -> None:
    host = f"--endpoints=https://{mesh.plan.cluster('west').control.ip}:2379"
    done = _run(
        mesh,
        *("etcdctl", host, "--insecure-skip-tls-verify", "--dial-timeout=2s", "--command-timeout=3s"),
        *("get", "cilium/.heartbeat"),
    )
    assert done.returncode != 0
    assert done.stdout == ""
