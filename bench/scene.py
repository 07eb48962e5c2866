"""Where a measurement takes place: a cluster's etcd, its proxy with mutual TLS, and files that lead there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench.cluster import Cluster
from bench.generate import beating, write_cluster
from bench.process import child, python, wait_listening
from bench.progress import progress
from bench.store import Store, free_port, running_store
from certs import profile
from certs.issue import Authority, Issued
from certs.profile import Profile


@dataclass(frozen=True)
class Door:
    """A proxy, and what a client needs to come in by it."""

    port: int
    files: Path
    pid: int

    def configuration(self) -> str:
        """What stands in a peer's file."""
        return (
            f"endpoints: ['https://127.0.0.1:{self.port}']\n"
            f"trusted-ca-file: {self.files / 'ca.crt'}\n"
            f"cert-file: {self.files / 'tls.crt'}\n"
            f"key-file: {self.files / 'tls.key'}\n"
        )


@dataclass(frozen=True)
class Scene:
    """`peers` is a directory as agents follow it, with a file for the cluster."""

    store: Store
    door: Door
    peers: Path
    _turns: list[int] = field(default_factory=lambda: [0])

    def turn(self, changes: int) -> int:
        """The first of so many changes, none of which was made before."""
        self._turns[0] += changes
        return self._turns[0] - changes


@asynccontextmanager
async def running_scene(folder: Path, cluster: Cluster) -> AsyncGenerator[Scene]:
    """The cluster stands in its etcd, complete, and lives."""
    async with running_store(folder) as store, running_door(folder, store, cluster.name) as door:
        with progress(f"writing {cluster.name}", cluster.shape.total) as written:
            await write_cluster(store.channel, cluster, written)
        peers = folder / "peers"
        peers.mkdir()
        (peers / cluster.name).write_text(door.configuration())
        async with asyncio.TaskGroup() as group:
            beats = group.create_task(beating(store.channel), name="heartbeat")
            yield Scene(store, door, peers)
            beats.cancel()


@asynccontextmanager
async def running_door(
    folder: Path, store: Store, cluster: str, client: Profile | None = None
) -> AsyncGenerator[Door]:
    """The product's own proxy, with mutual TLS. Clients are other clusters' agents, or `client`."""
    now = datetime.now(UTC)
    authority = Authority.create(now)
    server = write_files(folder / "server", authority, authority.issue(profile.server("bench"), now))
    files = write_files(folder / "client", authority, authority.issue(client or profile.remote(), now))
    log, port = folder / "proxy.log", free_port()
    arguments = [
        *("-m", "clustermesh_apiserver", "proxy", f"--cluster-name={cluster}", "--log-level=warning"),
        *(f"--listen=127.0.0.1:{port}", f"--upstream={store.address}", f"--cert-dir={server}"),
        f"--health-port={free_port()}",
    ]
    async with child(*python(*arguments), log=log) as process:
        await wait_listening(port, process, log)
        yield Door(port, files, process.pid)


def write_files(folder: Path, authority: Authority, issued: Issued) -> Path:
    folder.mkdir()
    files = {
        "ca.crt": authority.issued.certificate_pem,
        "tls.crt": issued.certificate_pem,
        "tls.key": issued.key_pem,
    }
    for name, content in files.items():
        (folder / name).touch(0o600)
        (folder / name).write_bytes(content)
    return folder
