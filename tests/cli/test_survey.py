"""Dialling a server over real TLS: what is wrong with its certificate is named."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certs import bundle, profile
from certs.check import Problem
from certs.issue import Authority, Issued
from cli import secret, status, survey
from cli.facts import Address, ClusterFacts, Reached
from cli.target import Target
from tests.cli.conftest import Clusters
from tests.cli.test_status import pod

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=30)
OURS, FOREIGN = Authority.create(LONG_AGO), Authority.create(LONG_AGO)
TRUST = bundle.parse(OURS.issued.certificate_pem)
SERVER = profile.server("kube-system")
NAME = "west.mesh.cilium.io"


@asynccontextmanager
async def serving(issued: Issued, folder: Path) -> AsyncGenerator[Address]:
    """A TLS server that wants client certificates, as the mesh's does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    (folder / "both.pem").write_bytes(issued.certificate_pem + issued.key_pem)
    context.load_cert_chain(folder / "both.pem")
    context.load_verify_locations(cadata=OURS.issued.certificate_pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])


FLAWS = [
    (OURS.issue(replace(SERVER, dns_names=("other.example",)), NOW), Problem.WRONG_NAME),
    (OURS.issue(replace(profile.remote(), dns_names=(NAME,)), NOW), Problem.WRONG_USE),
    (FOREIGN.issue(SERVER, NOW), Problem.UNTRUSTED),
    (OURS.issue(SERVER, LONG_AGO, validity=timedelta(days=1)), Problem.EXPIRED),
    (OURS.issue(SERVER, NOW + timedelta(hours=1)), Problem.NOT_YET_VALID),
]


@pytest.mark.parametrize(("issued", "problem"), FLAWS, ids=[flaw.name for _, flaw in FLAWS])
async def test_a_flawed_certificate_is_named_as_it_is_served_and_as_it_is_stored(
    issued: Issued, problem: Problem, tmp_path: Path
) -> None:
    async with serving(issued, tmp_path) as address:
        found = await survey.probe(address, NAME, TRUST, NOW)
    assert found.reached is Reached.ANSWERED
    assert [flaw.problem for flaw in found.certificate] == [problem]
    leaves = {secret.SERVER: {secret.CERTIFICATE: issued.certificate_pem}}
    west = ClusterFacts(Target(), name="west", trust=TRUST, leaves=leaves)
    assert [flaw.problem for flaw in survey.stored(west, NOW)] == [problem]


async def test_a_good_server_has_no_flaw(tmp_path: Path) -> None:
    async with serving(OURS.issue(SERVER, NOW), tmp_path) as address:
        found = await survey.probe(address, NAME, TRUST, NOW)
    assert (found.reached, found.error, found.certificate) == (Reached.ANSWERED, "", ())


async def test_a_closed_port_refuses(unused_tcp_port: int) -> None:
    found = await survey.probe(Address("127.0.0.1", unused_tcp_port), NAME, TRUST, NOW)
    assert (found.reached, found.error) == (Reached.REFUSED, "connection refused")


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("https://127.0.0.1:6443", False),
        ("https://localhost:6443", False),
        ("https://[::1]:6443", False),
        ("https://192.0.2.1:6443", True),
        ("https://api.example", True),
    ],
)
def test_only_api_servers_elsewhere_count_as_remote(server: str, expected: bool) -> None:
    assert survey.is_remote(server) is expected


async def test_connect_refuses_an_address_that_nobody_listens_at_and_changes_nothing(
    clusters: Clusters, unused_tcp_port_factory: Callable[[], int]
) -> None:
    await clusters.enable()
    before = await clusters.everything()
    ports = [unused_tcp_port_factory() for _ in range(2)]
    result = await clusters.run(
        *("connect", "--dial", "--context", "east", "--destination-context", "west"),
        *("--source-endpoint", f"127.0.0.1:{ports[0]}", "--destination-endpoint", f"127.0.0.1:{ports[1]}"),
    )
    assert result.exit_code == 1
    assert f"west: 127.0.0.1:{ports[1]} does not answer from here (connection refused)" in result.stderr
    assert "--no-dial" in result.stderr
    assert await clusters.everything() == before


async def test_connect_refuses_a_server_with_anothers_certificate(clusters: Clusters, tmp_path: Path) -> None:
    await clusters.enable()
    async with serving(FOREIGN.issue(SERVER, NOW), tmp_path) as address:
        result = await clusters.run(
            *("connect", "--dial", "--context", "east", "--destination-context", "west"),
            *("--source-endpoint", str(address), "--destination-endpoint", str(address)),
        )
    assert result.exit_code == 1
    assert "(server-certificate-chain)" in result.stderr


async def test_connect_refuses_an_id_that_a_followed_peer_has(
    clusters: Clusters, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    await clusters.enable()
    monkeypatch.setattr(survey, "KVSTOREMESH_HEALTH_PORT", unused_tcp_port)
    said = b'[{"name":"north","config":{"required":true,"retrieved":true,"cluster-id":2}},{"name":"new"}]'
    async with pod(clusters, "apiserver-1", replace(status.KVSTOREMESH, port=unused_tcp_port), said):
        result = await clusters.run("connect", "--context", "east", "--destination-context", "west")
    assert result.exit_code == 1
    assert "east follows north, which has the id 2 of west too" in result.stderr
