"""Fixtures every package's tests may use: a real etcd in a directory of its own, ended afterwards.

Properties have no deadline: a machine that is busy with something else proves nothing about the code.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")

_START_SECONDS = 20.0
_CHANCE = random.SystemRandom()  # the common one is hypothesis's, the same in each process


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first: processors that share the suite are then done together."""
    items.sort(key=lambda item: "simulation" not in item.path.parts)


@dataclass
class RunningEtcd:
    """A real etcd on loopback. `endpoint` is host:port and stays the same across a restart."""

    name: str
    directory: Path
    port: int
    peer_port: int
    extra: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        scheme = "https" if any(arg.startswith("--cert-file") for arg in self.extra) else "http"
        client, peer = f"{scheme}://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.peer_port}"
        arguments = [
            *("etcd", "--name", self.name, "--data-dir", str(self.directory), "--log-level", "error"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"{self.name}={peer}", "--initial-cluster-token", f"t{time.time_ns()}"),
            *self.extra,
        ]
        with (self.directory.parent / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(arguments, stdout=log, stderr=log)
        self._wait_listening()

    def _wait_listening(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            assert self.process is not None and self.process.poll() is None, "etcd ended at once: see its log"
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        raise TimeoutError(f"etcd {self.name} does not listen")

    def stop(self) -> None:
        """End it at once, as a crash would: nothing is flushed politely."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def restart(self, *, empty: bool = False) -> None:
        """Stop if running, start again; `empty` starts a new cluster without any data."""
        self.stop()
        if empty:
            shutil.rmtree(self.directory)
        self.start()


def free_port() -> int:
    """Below what the kernel gives to connections, and by chance: other tests run at the same time."""
    while True:
        port = _CHANCE.randrange(10_000, 32_000)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture
def etcds(tmp_path: Path) -> Iterator[Callable[..., RunningEtcd]]:
    """A factory: etcds(name, *extra_arguments) starts one more etcd."""
    running: list[RunningEtcd] = []

    def start(name: str = "etcd", *extra: str) -> RunningEtcd:
        server = RunningEtcd(name, tmp_path / f"{name}.etcd", free_port(), free_port(), extra)
        running.append(server)
        server.start()
        return server

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def etcd(etcds: Callable[..., RunningEtcd]) -> RunningEtcd:
    """One fresh etcd."""
    return etcds()
