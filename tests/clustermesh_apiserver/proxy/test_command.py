"""The subcommand as a process: it ends politely, and refuses nonsense before it starts."""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

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


async def test_the_program_serves_and_ends_at_once_when_asked(etcd: RunningEtcd, tmp_path: Path) -> None:
    authority = Authority.create(datetime.now(UTC))
    secret = tmp_path / "secret"
    write_secret(secret, authority.issue(profile.server("ns"), datetime.now(UTC)), authority)
    client = tmp_path / "client"
    write_secret(client, authority.issue(profile.remote(), datetime.now(UTC)), authority)
    port = free_port()
    arguments = [f"--listen=127.0.0.1:{port}", f"--upstream={etcd.endpoint}", f"--cert-dir={secret}"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", START, *arguments, "--cluster-name=east", f"--health-port={free_port()}"),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        question = [
            f"--endpoints=https://127.0.0.1:{port}",
            f"--cacert={client / 'ca.crt'}",
            f"--cert={client / 'tls.crt'}",
            f"--key={client / 'tls.key'}",
        ]

        async def healthy() -> bool:
            return (await etcdctl([*question, "--command-timeout=1s", "endpoint", "health"])).status == 0

        await eventually(healthy)
        process.send_signal(signal.SIGTERM)
        _, err = await asyncio.wait_for(process.communicate(), 10)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    assert b"Traceback" not in err
