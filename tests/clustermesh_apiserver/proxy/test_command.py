"""The subcommand as a process: it ends politely, and refuses nonsense before it starts."""

from __future__ import annotations

import asyncio
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from aiokit.wait import eventually
from certs import profile
from certs.issue import Authority
from clustermesh_apiserver.proxy.command import command
from tests.clustermesh_apiserver.proxy.conftest import etcdctl, write_secret
from tests.conftest import RunningEtcd, free_port

START = "import sys; from clustermesh_apiserver.proxy.command import command; command()"


def test_a_name_that_no_cluster_can_have_is_refused() -> None:
    result = CliRunner().invoke(command, ["--cluster-name", "East_1"])
    assert result.exit_code == 2
    assert "--cluster-name" in result.output


@dataclass(frozen=True)
class Program:
    process: asyncio.subprocess.Process
    port: int
    client: Path

    async def etcdctl_health(self) -> bool:
        files = {name: self.client / name for name in ("ca.crt", "tls.crt", "tls.key")}
        tls = [f"--cacert={files['ca.crt']}", f"--cert={files['tls.crt']}", f"--key={files['tls.key']}"]
        where = [f"--endpoints=https://127.0.0.1:{self.port}", "--command-timeout=1s"]
        return (await etcdctl([*where, *tls, "endpoint", "health"])).status == 0

    async def handshake(self, version: ssl.TLSVersion) -> str | None:
        """The protocol agreed on above TLS of exactly that version. Raises ssl.SSLError."""
        context = ssl.create_default_context(cafile=str(self.client / "ca.crt"))
        context.load_cert_chain(self.client / "tls.crt", self.client / "tls.key")
        context.set_alpn_protocols(["h2"])
        context.minimum_version = context.maximum_version = version
        _, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        agreed: str | None = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        writer.close()
        with suppress(ssl.SSLError, ConnectionError):
            await writer.wait_closed()
        return agreed


@pytest.fixture
async def program(etcd: RunningEtcd, tmp_path: Path) -> AsyncIterator[Program]:
    """The proxy as a process, once it serves."""
    authority = Authority.create(datetime.now(UTC))
    secret, client = tmp_path / "secret", tmp_path / "client"
    write_secret(secret, authority.issue(profile.server("ns"), datetime.now(UTC)), authority)
    write_secret(client, authority.issue(profile.remote(), datetime.now(UTC)), authority)
    port = free_port()
    arguments = [f"--listen=127.0.0.1:{port}", f"--upstream={etcd.endpoint}", f"--cert-dir={secret}"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", START, *arguments, "--cluster-name=east", f"--health-port={free_port()}"),
        stderr=asyncio.subprocess.PIPE,
    )
    program = Program(process, port, client)
    try:
        await eventually(program.etcdctl_health)
        yield program
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_program_serves_and_ends_at_once_when_asked(program: Program) -> None:
    program.process.send_signal(signal.SIGTERM)
    _, err = await asyncio.wait_for(program.process.communicate(), 10)
    assert program.process.returncode == 0, err.decode()
    assert b"Traceback" not in err


async def test_it_speaks_tls_1_3_with_http_2_and_nothing_older(program: Program) -> None:
    assert await program.handshake(ssl.TLSVersion.TLSv1_3) == "h2"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await program.handshake(ssl.TLSVersion.TLSv1_2)


def test_each_cluster_by_its_name_needs_the_list_of_names() -> None:
    result = CliRunner().invoke(command, ["--cluster-name=east", "--auth-mode=cluster"])
    assert result.exit_code == 2
    assert "--users-config-path" in result.output
