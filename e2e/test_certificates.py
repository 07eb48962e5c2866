"""Certificates renew by themselves: the CronJob that `enable` installs, run in a pod, under traffic."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from cryptography import x509

from aiokit.wait import eventually
from certs import reissue
from certs.issue import Authority
from e2e.conftest import Mesh
from e2e.faults import curls_counted
from k8s.client import Client
from k8s.resource import CRONJOB, JOB, POD, SECRET
from lab.control.jobs import job_body
from lab.manifest import CronJob

NAMESPACE = "kube-system"
SERVER, REMOTE = "clustermesh-apiserver-server-cert", "clustermesh-apiserver-remote-cert"
CERTGEN = "clustermesh-apiserver-certgen"
PROXY_PORT, KVSTOREMESH_PORT = 9882, 9881
FAILURES = "cilium_kvstoremesh_remote_cluster_failures"
RENEW_SECONDS, FOLLOW_SECONDS = 40.0, 20.0


async def test_a_certificate_about_to_expire_is_renewed_and_no_stream_is_dropped(mesh: Mesh) -> None:
    async with mesh.lab.kubernetes("west") as client:
        old = {name: await _shorten(client, name) for name in (SERVER, REMOTE)}
        await _wait_served(mesh, old[SERVER])
        streams = await _metric(mesh, "east", KVSTOREMESH_PORT, FAILURES)
        async with curls_counted(mesh.lab, "east", mesh.clients["east"], mesh.url) as curls:
            await _run_job(client)
            renewed = {name: reissue.leaf_of(await _data(client, name)) for name in old}
            await _wait_served(mesh, renewed[SERVER])
        assert curls and all(answer.served_by for answer in curls)
    for name, leaf in renewed.items():
        assert leaf.serial_number != old[name].serial_number
        assert leaf.not_valid_after_utc > datetime.now(UTC) + timedelta(days=1000)
    assert await _metric(mesh, "east", KVSTOREMESH_PORT, FAILURES) == streams


async def _shorten(client: Client, name: str) -> x509.Certificate:
    """The Secret's leaf anew, as if issued eight days ago for nine."""
    ca = await _data(client, "cilium-ca")
    authority = Authority.load(ca["ca.crt"], ca["ca.key"])
    begun = datetime.now(UTC) - timedelta(days=8)
    data = reissue.signed_by(authority, await _data(client, name), begun, validity=timedelta(days=9))
    encoded = {key: base64.b64encode(data[key]).decode() for key in ("tls.crt", "tls.key")}
    await client.merge_patch(SECRET, name, {"data": encoded}, NAMESPACE)
    return reissue.leaf_of(data)


async def _run_job(client: Client) -> None:
    """As `kubectl create job --from=cronjob/…` does; until it is complete."""
    raw = await client.get(CRONJOB, CERTGEN, NAMESPACE)
    assert raw is not None
    body = job_body(msgspec.json.decode(raw, type=CronJob), "by-hand")
    await client.create(JOB, body)

    async def is_complete() -> bool:
        raw = await client.get(JOB, "by-hand", NAMESPACE)
        status: Mapping[str, Any] = msgspec.json.decode(raw or b"{}").get("status", {})
        ended = [each["type"] for each in status.get("conditions", [])]
        assert "Failed" not in ended
        return "Complete" in ended

    await eventually(is_complete, RENEW_SECONDS, 0.1)
    await client.delete(JOB, "by-hand", NAMESPACE)


async def _wait_served(mesh: Mesh, leaf: x509.Certificate) -> None:
    async def is_served() -> bool:
        expiry = await _metric(mesh, "west", PROXY_PORT, "clustermesh_proxy_certificate_expiry_seconds")
        return expiry == leaf.not_valid_after_utc.timestamp()

    await eventually(is_served, FOLLOW_SECONDS, 0.2)


async def _data(client: Client, name: str) -> dict[str, bytes]:
    raw = await client.get(SECRET, name, NAMESPACE)
    return {key: base64.b64decode(text) for key, text in msgspec.json.decode(raw or b"{}")["data"].items()}


async def _metric(mesh: Mesh, cluster: str, port: int, name: str) -> float:
    """Of the control plane's container behind `port`; the sum over all labels."""
    async with mesh.lab.kubernetes(cluster) as client:
        (raw,) = await client.list(POD, NAMESPACE, label_selector="k8s-app=clustermesh-apiserver")
        pod = msgspec.json.decode(raw)["metadata"]["name"]
        text = (await client.proxy_get(pod, NAMESPACE, port, "metrics")).decode()
    samples = [line for line in text.splitlines() if line.startswith(name)]
    assert samples
    return sum(float(line.rpartition(" ")[2]) for line in samples)
