"""`bench proxy`: lists and watches through the proxy, beside etcd directly."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from bench.figure import Figure, figure
from bench.process import child, cpu_seconds, peak_rss_bytes, python, wait_listening
from bench.scene import write_files
from bench.store import END, PREFIX, Store, free_port, running_store
from certs import profile
from certs.issue import Authority
from kvstore import messages as m
from kvstore.methods import RANGE

PUTS_A_SECOND, PUT_SECONDS = 200, 3.0
CONNECTIONS = 20
SINK_SECONDS = 120.0
LISTS = 3  # one takes a tenth of a second and varies by half: the median needs more of them
_UNLIMITED = [("grpc.max_receive_message_length", -1)]


@dataclass(frozen=True)
class Target:
    """What is measured: an address, the client's files (None: plain text), and the proxy's process."""

    name: str
    address: str
    tls: Path | None = None
    pid: int | None = None


@dataclass
class Runs:
    """What the runs against one target gave."""

    deliveries: list[float] = field(default_factory=list)
    missing: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    etcd_cpu: list[float] = field(default_factory=list)
    own_cpu: list[float] = field(default_factory=list)
    messages: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many watchers of one prefix, in which so many puts a second happen."""

    watchers: int
    rate: int = PUTS_A_SECOND

    @property
    def name(self) -> str:
        return f"{self.watchers} watchers" + (f" at {self.rate}/s" if self.rate != PUTS_A_SECOND else "")


async def measure(folder: Path, *, keys: int, crowds: list[Crowd], runs: int) -> list[Figure]:
    """All figures. `folder` is for files and may be removed afterwards."""
    async with running_store(folder) as store, proxies(folder, store) as (plain, secure):
        direct = Target("etcd", store.address)
        await store.fill(keys)
        figures = await ranges(store, [direct, plain, secure], runs)
        for crowd in crowds:
            results = {target.name: Runs() for target in (direct, plain, secure)}
            for _ in range(runs):
                for target in (direct, plain, secure):
                    await watch(folder, store, target, crowd, results[target.name])
            for target in (plain, secure):
                figures += _of_watch(target, crowd.name, results[target.name], results["etcd"])
    return figures


@asynccontextmanager
async def proxies(folder: Path, store: Store) -> AsyncGenerator[tuple[Target, Target]]:
    """One in plain text, one with mutual TLS."""
    now = datetime.now(UTC)
    authority = Authority.create(now)
    server = write_files(folder / "server", authority, authority.issue(profile.server("bench"), now))
    client = write_files(folder / "client", authority, authority.issue(profile.remote(), now))
    log, ports = folder / "proxy.log", (free_port(), free_port())
    secure_arguments = [
        *("-m", "clustermesh_apiserver", "proxy", "--cluster-name=bench", "--log-level=warning"),
        *(f"--listen=127.0.0.1:{ports[1]}", f"--upstream={store.address}", f"--cert-dir={server}"),
        f"--health-port={free_port()}",
    ]
    async with (
        child(*python("-m", "bench.plain_proxy", f"127.0.0.1:{ports[0]}", store.address), log=log) as plain,
        child(*python(*secure_arguments), log=log) as secure,
    ):
        for port, process in zip(ports, (plain, secure), strict=True):
            await wait_listening(port, process, log)
        yield (
            Target("proxy, plain", f"127.0.0.1:{ports[0]}", pid=plain.pid),
            Target("proxy, mTLS", f"127.0.0.1:{ports[1]}", client, secure.pid),
        )


async def ranges(store: Store, targets: list[Target], runs: int) -> list[Figure]:
    """One unpaged list of everything."""
    rates: dict[str, list[float]] = {target.name: [] for target in targets}
    used: dict[str, float] = {}
    for _ in range(LISTS * runs):
        for target in targets:
            before = cpu_seconds(target.pid) if target.pid else 0.0
            rates[target.name].append(await _list_rate(target))
            used[target.name] = cpu_seconds(target.pid) - before if target.pid else 0.0
    return [
        figure(
            f"Range of everything, {target.name}",
            rates[target.name],
            "MB/s",
            floors=rates[targets[0].name],
            cpu_seconds=used[target.name],
            peak_rss_bytes=peak_rss_bytes(target.pid),
        )
        for target in targets[1:]
        if target.pid is not None
    ]


async def _list_rate(target: Target) -> float:
    async with _channel(target) as channel:
        call = channel.unary_unary(RANGE.path)
        await call(m.RangeRequest(key=PREFIX + b"none").SerializeToString())  # the handshake is not counted
        begun = time.monotonic()
        answer = await call(m.RangeRequest(key=PREFIX, range_end=END).SerializeToString())
        return len(answer) / 1e6 / (time.monotonic() - begun)


def _channel(target: Target) -> Any:
    if target.tls is None:
        return grpc.aio.insecure_channel(target.address, options=_UNLIMITED)
    ca, key, certificate = ((target.tls / name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt"))
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    return grpc.aio.secure_channel(target.address, credentials, options=_UNLIMITED)


async def watch(folder: Path, store: Store, target: Target, crowd: Crowd, into: Runs) -> None:
    """One run: watchers, changes, and what came of them."""
    events = int(crowd.rate * PUT_SECONDS)
    arguments = [target.address, f"--watchers={crowd.watchers}", f"--events={events}"]
    arguments.append(f"--connections={min(CONNECTIONS, crowd.watchers)}")
    if target.tls is not None:
        arguments.append(f"--tls={target.tls}")
    log = folder / "sink.log"
    async with (
        child(*python("-m", "bench.sink", *arguments), log=log, reads_output=True) as sink,
        asyncio.timeout(SINK_SECONDS),
    ):
        assert sink.stdout is not None
        if (await sink.stdout.readline()).strip() != b"ready":
            raise RuntimeError(f"the watchers are not ready: {log.read_text()[-2000:]}")
        before = _used(store, target)
        begun = time.monotonic()
        await store.put_at(crowd.rate, events)
        said = await sink.stdout.read()
        if not said:
            raise RuntimeError(f"the watchers ended: {log.read_text()[-2000:]}")
        outcome = json.loads(said)
        after = _used(store, target)
    into.deliveries.append(outcome["delivered"] / (outcome["last"] - begun))
    into.missing.append(outcome["wanted"] - outcome["delivered"])
    into.p50.append(outcome["p50_ms"])
    into.p99.append(outcome["p99_ms"])
    into.messages.append(outcome["messages"])
    into.etcd_cpu.append(after[0] - before[0])
    into.own_cpu.append(after[1] - before[1])


def _used(store: Store, target: Target) -> tuple[float, float]:
    return cpu_seconds(store.pid), cpu_seconds(target.pid) if target.pid else 0.0


def _of_watch(target: Target, crowd: str, own: Runs, direct: Runs) -> list[Figure]:
    name = f"{crowd}, {target.name}"
    own_cpu = figure("", own.own_cpu, "s").value
    rss = peak_rss_bytes(target.pid) if target.pid else None
    return [
        figure(
            f"{name}: deliveries",
            own.deliveries,
            "/s",
            floors=direct.deliveries,
            cpu_seconds=own_cpu,
            peak_rss_bytes=rss,
        ),
        figure(f"{name}: events not delivered", own.missing, "events"),
        figure(f"{name}: put to event, p50", own.p50, "ms", floors=direct.p50),
        figure(f"{name}: put to event, p99", own.p99, "ms", floors=direct.p99),
        figure(f"{name}: CPU of etcd", own.etcd_cpu, "s", floors=direct.etcd_cpu),
        figure(f"{name}: messages", own.messages, "messages", floors=direct.messages),
    ]
