"""A real etcd behind a running proxy, real certificates, and clients of both kinds: etcdctl and grpc.aio."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from certs import profile
from certs.issue import VALIDITY, Authority, Issued
from certs.profile import Profile
from clustermesh_apiserver.proxy.config import ProxyConfig
from clustermesh_apiserver.proxy.serve import Running, running
from tests.conftest import RunningEtcd

COMMAND_SECONDS = 20.0
DIALLED = "east.mesh.cilium.io"


@dataclass(frozen=True)
class Result:
    status: int
    out: bytes
    err: str


@dataclass(frozen=True)
class Mesh:
    """One cluster, `east`: its etcd, its proxy, its authority and a directory for clients' files."""

    etcd: RunningEtcd
    proxy: Running
    authority: Authority
    folder: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.proxy.port}"

    @property
    def cert_dir(self) -> Path:
        return self.folder / "server"

    async def as_client(self, client: Profile, *arguments: str) -> Result:
        """etcdctl through the proxy with a fresh certificate of that profile."""
        files = self.folder / "client"
        write_secret(files, self.authority.issue(client, datetime.now(UTC)), self.authority)
        return await etcdctl(
            [
                f"--endpoints=https://{self.address}",
                f"--cacert={files / 'ca.crt'}",
                f"--cert={files / 'tls.crt'}",
                f"--key={files / 'tls.key'}",
                *arguments,
            ]
        )

    async def directly(self, *arguments: str) -> Result:
        """etcdctl at etcd itself, as an administrator on its machine."""
        return await etcdctl([f"--endpoints=http://{self.etcd.endpoint}", *arguments])

    @asynccontextmanager
    async def channel(
        self,
        client: Profile,
        *,
        options: Sequence[tuple[str, Any]] = (),
        authority: Authority | None = None,
        validity: timedelta = VALIDITY,
        issued: Issued | None = None,
        trusts: Sequence[Authority] = (),
    ) -> AsyncGenerator[Any]:
        """A grpc.aio channel through the proxy."""
        issued = issued or (authority or self.authority).issue(client, datetime.now(UTC), validity=validity)
        trust = b"".join(one.issued.certificate_pem for one in trusts or [self.authority])
        credentials = grpc.ssl_channel_credentials(trust, issued.key_pem, issued.certificate_pem)
        every = [("grpc.ssl_target_name_override", DIALLED), ("grpc.use_local_subchannel_pool", 1), *options]
        async with grpc.aio.secure_channel(self.address, credentials, options=every) as channel:
            yield channel


@pytest.fixture
async def mesh(etcd: RunningEtcd, tmp_path: Path) -> AsyncIterator[Mesh]:
    async with a_mesh(etcd, tmp_path) as running_mesh:
        yield running_mesh


@asynccontextmanager
async def a_mesh(
    etcd: RunningEtcd, tmp_path: Path, settings: Callable[[ProxyConfig], ProxyConfig] = lambda config: config
) -> AsyncGenerator[Mesh]:
    authority = Authority.create(datetime.now(UTC))
    issued = authority.issue(profile.server("kube-system"), datetime.now(UTC))
    write_secret(tmp_path / "server", issued, authority)
    config = ProxyConfig(
        "127.0.0.1:0", etcd.endpoint, tmp_path / "server", "east", health_port=0, health_host="127.0.0.1"
    )
    async with running(settings(config)) as proxy:
        yield Mesh(etcd, proxy, authority, tmp_path)


def write_secret(folder: Path, issued: Issued, *authorities: Authority) -> None:
    """The files of a TLS Secret, swapped in one step as the kubelet does: through a ..data symlink."""
    folder.mkdir(exist_ok=True)
    version = folder / f"..{datetime.now(UTC).timestamp()}"
    version.mkdir()
    trust = b"".join(authority.issued.certificate_pem for authority in authorities)
    files = {"tls.crt": issued.certificate_pem, "tls.key": issued.key_pem, "ca.crt": trust}
    for name, content in files.items():
        (version / name).write_bytes(content)
        (version / name).chmod(0o600)
    link = folder / "..data.new"
    link.symlink_to(version.name)
    link.replace(folder / "..data")
    for name in files:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


async def etcdctl(arguments: Sequence[str]) -> Result:
    process = await asyncio.create_subprocess_exec(
        "etcdctl",
        "--command-timeout=10s",
        *arguments,
        env={"ETCDCTL_API": "3", "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Result(process.returncode, out, err.decode())
