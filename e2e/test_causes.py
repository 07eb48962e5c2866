"""A mesh broken in the ways that it breaks: `status` and `service status` name the cause, and no other."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec

from aiokit.wait import eventually
from certs import profile
from certs.check import load_chain
from certs.issue import Authority, Issued
from cli.apiservermanifest import PROXY_HEALTH_PORT
from cli.podask import answers
from e2e.conftest import Mesh
from k8s.resource import SECRET, SERVICE

NAMESPACE = "kube-system"
SERVER, PEERS = "clustermesh-apiserver-server-cert", "cilium-kvstoremesh"
GLOBAL = "service.cilium.io/global"
EXPIRY = "clustermesh_proxy_certificate_expiry_seconds "


async def read(mesh: Mesh, cluster: str, name: str) -> dict[str, bytes]:
    async with mesh.lab.kubernetes(cluster) as client:
        found = msgspec.json.decode(await client.get(SECRET, name, NAMESPACE) or b"{}")
    return {key: base64.b64decode(text) for key, text in found["data"].items()}


async def write(mesh: Mesh, cluster: str, name: str, data: Mapping[str, bytes]) -> None:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    async with mesh.lab.kubernetes(cluster) as client:
        await client.merge_patch(SECRET, name, {"data": encoded}, NAMESPACE)


@asynccontextmanager
async def restoring(mesh: Mesh, cluster: str, name: str) -> AsyncGenerator[dict[str, bytes]]:
    """A Secret's data; it is put back when the block ends."""
    before = await read(mesh, cluster, name)
    try:
        yield before
    finally:
        await write(mesh, cluster, name, before)


async def named(mesh: Mesh) -> set[str]:
    """The causes that east's status names for west."""
    said = await mesh.lab.command("status", "--context", "east", "-o", "json", check=False)
    found = msgspec.json.decode(said)
    return {cause["check"] for cause in found["causes"] if cause["cluster"] == "west"}


def _expiry(metrics: str) -> float:
    found = (line for line in metrics.splitlines() if line.startswith(EXPIRY))
    return float(next(found, "0").split()[-1])


async def test_status_names_a_peer_that_is_down_an_expired_certificate_and_a_foreign_authority(
    mesh: Mesh,
) -> None:
    now = datetime.now(UTC)
    ca = await read(mesh, "west", "cilium-ca")
    own, server = Authority.load(ca["ca.crt"], ca["ca.key"]), profile.server(NAMESPACE)

    async def is_named(check: str) -> None:
        async def is_it() -> bool:
            return await named(mesh) == {check}

        await eventually(is_it, 20, 0.2)

    async def serve(issued: Issued) -> None:
        pair = {"tls.crt": issued.certificate_pem, "tls.key": issued.key_pem}
        await write(mesh, "west", SERVER, pair)
        expires = load_chain(issued.certificate_pem)[0].not_valid_after_utc.timestamp()

        async def is_served() -> bool:
            async with mesh.lab.kubernetes("west") as client:
                found = await answers(
                    client, NAMESPACE, "clustermesh-apiserver", PROXY_HEALTH_PORT, "/metrics"
                )
            return [_expiry(each.body.decode()) for each in found] == [expires]

        await eventually(is_served, 20, 0.2)  # a connection made before that would stand on

    async with restoring(mesh, "west", SERVER):
        async with restoring(mesh, "east", PEERS) as peers:
            nowhere = peers["west"].replace(b":2379", b":1")  # a port of west's that nobody listens at
            await write(mesh, "east", PEERS, {"west": nowhere})
            await is_named("peer-down")
            await serve(own.issue(server, now, validity=timedelta(seconds=-1)))
        await is_named("server-certificate-expired")
        refused = await mesh.lab.command(
            *("checks", "run", "--context", "east", "--destination-context", "west", "-o", "json"),
            check=False,
        )
        assert {each["check"] for each in msgspec.json.decode(refused)} == {"server-certificate-expired"}
        await serve(Authority.create(now).issue(server, now))
        await is_named("ca-mismatch")
    await mesh.lab.command("status", "--context", "east", "--wait", "--wait-duration", "60s")


async def test_a_service_that_a_peer_does_not_export_is_named_with_the_annotation_it_lacks(
    mesh: Mesh,
) -> None:
    async def causes() -> dict[str, str]:
        said = await mesh.lab.command("service", "status", "web", "--context", "east", "-o", "json")
        return {each["cluster"]: each["check"] for each in msgspec.json.decode(said)["clusters"]}

    async def annotate(value: str | None) -> None:
        async with mesh.lab.kubernetes("west") as client:
            patch = {"metadata": {"annotations": {GLOBAL: value}}}
            await client.merge_patch(SERVICE, "web", patch, "default")

    async def are(west: str) -> None:
        async def found() -> bool:
            return await causes() == {"east": "", "west": west}

        await eventually(found, 20, 0.2)

    await are("")
    await annotate(None)
    try:
        await are("service-not-global")
    finally:
        await annotate("true")
    await are("")
