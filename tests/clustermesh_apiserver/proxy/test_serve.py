"""The running proxy from outside: health, metrics, audit, ending, and what it says when it cannot start."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import grpc
import pytest

from aiokit.wait import eventually
from certs import profile
from certs.issue import Authority
from clustermesh_apiserver.proxy.config import ProxyConfig, ProxyError
from clustermesh_apiserver.proxy.method import WATCH
from clustermesh_apiserver.proxy.serve import running, serve
from tests.clustermesh_apiserver.proxy.conftest import Mesh, a_mesh, write_secret
from tests.clustermesh_apiserver.proxy.test_watch import answer, create
from tests.conftest import RunningEtcd

REMOTE = profile.remote()


async def page(port: int, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_readiness_follows_etcd_and_liveness_does_not(mesh: Mesh) -> None:
    async def answers(path: str, status: int, text: str) -> bool:
        found, said = await page(mesh.proxy.health_port, path)
        return found == status and said.startswith(text)

    await eventually(lambda: answers("/readyz", 200, "Ready"))
    mesh.etcd.stop()
    await eventually(lambda: answers("/readyz", 500, "NotReady: etcd does not answer (UNAVAILABLE)"))
    assert await answers("/healthz", 200, "ok")


async def test_a_refusal_is_counted_and_written_down_with_who_and_what(
    mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    await mesh.as_client(profile.remote("west"), "get", "cilium/cache/secret")
    _, text = await page(mesh.proxy.health_port, "/metrics")
    labels = 'client="remote-west",method="Range",reason="range",role="remote"'
    assert f"clustermesh_proxy_refused_total{{{labels}}} 1.0" in text
    (line,) = audited(caplog)
    assert "client='remote-west'" in line
    assert "cilium/cache/secret" in line


def audited(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.endswith("proxy.audit")]


async def test_open_streams_are_told_when_the_proxy_ends(etcd: RunningEtcd, tmp_path: Path) -> None:
    async with AsyncExitStack() as proxy, AsyncExitStack() as client:
        mesh = await proxy.enter_async_context(a_mesh(etcd, tmp_path))
        channel = await client.enter_async_context(mesh.channel(REMOTE))
        stream = channel.stream_stream(WATCH.path)()
        await stream.write(create())
        await answer(stream)
        await proxy.aclose()
        assert await stream.code() is grpc.StatusCode.UNAVAILABLE
        assert await stream.details() == "etcdserver: server stopped"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", mesh.proxy.port), 1).close()


async def test_without_certificates_it_waits_and_says_it_is_not_ready(
    etcd: RunningEtcd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = ProxyConfig("127.0.0.1:0", etcd.endpoint, tmp_path / "none", "east", 0, "127.0.0.1")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), running(config):
            raise AssertionError("listens without certificates")
    assert "missing: tls.crt, tls.key, ca.crt" in caplog.text


async def test_a_port_in_use_is_said_in_one_line(etcd: RunningEtcd, tmp_path: Path) -> None:
    authority = Authority.create(datetime.now(UTC))
    write_secret(tmp_path / "server", authority.issue(profile.server("ns"), datetime.now(UTC)), authority)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ProxyError, match=f"cannot listen on {address}"):
            await serve(ProxyConfig(address, etcd.endpoint, tmp_path / "server", "east", 0, "127.0.0.1"))
