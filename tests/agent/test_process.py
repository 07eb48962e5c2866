"""The whole program in a node's namespace: real API server, real etcd behind a peer, real kernel."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from aiokit.wait import eventually
from bpf import datapath, ipcache_map, loader
from bpf.requirements import mounts
from k8s.client import Client
from k8s.resource import CILIUMENDPOINT, CILIUMNODE, NODE
from kvstore import etcd as etcd_client
from kvstore.config import EtcdConfig
from kvstore.etcd import EtcdBackend
from kvstore.memory import MemoryBackend
from mesh import keys
from mesh.keys import Kind
from tests.agent.nodespace import NODE_IP, PodCable, node_namespace, pods
from tests.agent.peerdata import PeerData
from tests.agent.station import add_pods, define, names
from tests.bpf.bpffs import mounted
from tests.bpf.world import ifindex, mac, within
from tests.conftest import RunningEtcd
from tests.k8s.apiserver import lab_api

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

WEST = PeerData()


class AgentProcess:
    """One agent after another over the same node. Everything is below `path`, except the cgroup."""

    def __init__(  # noqa: PLR0917
        self, path: Path, node: str, bpf_root: Path, cgroup: Path, kubeconfig: Path, client: Client
    ) -> None:
        self.client = client
        self.path, self.node, self.bpf_root, self.cgroup = path, node, bpf_root, cgroup
        self.peers = path / "peers"
        self.peers.mkdir()
        self.socket = path / "agent.sock"
        self._kubeconfig = kubeconfig
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = [
            *("nsenter", f"--net=/run/netns/{self.node}", sys.executable, "-m", "agent"),
            *("--cluster-name=east", "--cluster-id=1", f"--socket-path={self.socket}"),
            *(
                f"--clustermesh-config={self.peers}",
                f"--state-dir={self.path / 'state'}",
                "--health-port=9879",
            ),
            *(f"--kubeconfig={self._kubeconfig}", "--node-name=node-1", f"--node-ip={NODE_IP}"),
        ]
        roots = {"CLUSTERMESH_BPF_ROOT": str(self.bpf_root), "CLUSTERMESH_CGROUP_ROOT": str(self.cgroup)}
        with (self.path / "agent.log").open("ab") as log:
            self._process = subprocess.Popen(arguments, env={**os.environ, **roots}, stdout=log, stderr=log)

    def end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        status = self._process.wait(20)
        self._process = None
        return status

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)

    @property
    def log(self) -> str:
        return (self.path / "agent.log").read_text()

    async def ask(self, path: str, method: str = "GET", **body: Any) -> Any:
        connector = aiohttp.UnixConnector(str(self.socket))
        async with (
            aiohttp.ClientSession("http://agent", connector=connector) as session,
            session.request(method, path, json=body or None) as answer,
        ):
            said = await answer.json() if answer.content_type == "application/json" else None
            assert answer.status < 300, (answer.status, said)
            return said

    async def status(self) -> Any:
        try:
            return await self.ask("/v1/healthz")
        except (aiohttp.ClientError, OSError):
            return {"cilium": {"state": "Absent"}, "cluster-mesh": {"clusters": []}}

    async def is_ok(self) -> bool:
        said = await self.status()
        return bool(said["cilium"]["state"] == "Ok" and said["kubernetes"]["state"] == "Ok")

    async def peers_programmed(self) -> bool:
        clusters = (await self.status())["cluster-mesh"]["clusters"]
        return bool(clusters) and all(cluster.get("ready") for cluster in clusters)

    def ipcache(self) -> dict[str, tuple[int, str | None]]:
        with datapath.open(self.bpf_root) as opened:
            entries = opened.ipcache.dump()
        found = ((ipcache_map.unpack_key(k), ipcache_map.unpack_value(v)) for k, v in entries.items())
        return {key.prefix_text: (value.identity, value.tunnel) for key, value in found}

    async def add_pod(self, cable: PodCable, name: str) -> str:
        """What a CNI plugin does; the pod's address."""
        allocated = (await self.ask(f"/v1/ipam?owner=shop/{name}", "POST"))["ipv4"]
        cable.configure(allocated["ip"], allocated["gateway"])
        await self.ask(
            f"/v1/endpoint/{name}",
            "PUT",
            **{
                "container-id": name,
                "interface-name": cable.interface,
                "interface-index": ifindex(self.node, cable.interface),
                "mac": mac(cable.pod, "eth0"),
                "host-mac": mac(self.node, cable.interface),
                "addressing": {"ipv4": allocated["ip"]},
                "k8s-pod-name": name,
                "k8s-namespace": "shop",
            },
        )
        return str(allocated["ip"])


@contextmanager
def cgroup() -> Iterator[Path]:
    root = next(mount.path for mount in mounts() if mount.type == "cgroup2")
    path = root / f"clustermesh-agent-{os.getpid()}"
    path.mkdir()
    try:
        yield path
    finally:
        path.rmdir()


@asynccontextmanager
async def reachable_in(node: str, port: int) -> AsyncGenerator[None]:
    """Make this process's 127.0.0.1:port answer inside the node's namespace too."""

    def listen() -> socket.socket:
        made = socket.socket()
        made.bind(("127.0.0.1", port))
        return made

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.TaskGroup() as group:
            group.create_task(copy(reader, far_writer), name="there")
            group.create_task(copy(far_reader, writer), name="back")

    server = await asyncio.start_server(relay, sock=within(node, listen))
    async with server:
        yield


async def prepare(client: Client) -> None:
    await define(client)
    await client.create(
        NODE,
        {"metadata": {"name": "node-1"}, "spec": {"podCIDR": "10.1.1.0/24", "podCIDRs": ["10.1.1.0/24"]}},
    )
    await add_pods(client, ["web-1", "web-2"])


@pytest_asyncio.fixture
async def agent(tmp_path: Path) -> AsyncIterator[AgentProcess]:
    """A node, its API server with two pods, and an agent that is not started yet."""
    async with AsyncExitStack() as stack:
        node = stack.enter_context(node_namespace())
        bpf_root = stack.enter_context(mounted(tmp_path / "bpf")) / "node"
        stack.callback(loader.unload, bpf_root)
        api = await stack.enter_async_context(lab_api(MemoryBackend()))
        await prepare(api.client)
        await stack.enter_async_context(reachable_in(node, int(api.access.server.rpartition(":")[2])))
        kubeconfig = api.kubeconfig(tmp_path / "kubeconfig")
        group = stack.enter_context(cgroup())
        running = AgentProcess(tmp_path, node, bpf_root, group, kubeconfig, api.client)
        stack.callback(running.close)
        yield running


async def test_a_node_joins_a_mesh_serves_pods_and_survives_a_kill(
    agent: AgentProcess, etcd: RunningEtcd
) -> None:
    url = f"http://{etcd.endpoint}"
    (agent.peers / "west").write_text(f"endpoints: [{url}]\n")
    with pods(agent.node, 2) as (one, two):
        async with reachable_in(agent.node, etcd.port), etcd_client.connect(EtcdConfig((url,))) as west:
            agent.start()
            await eventually(agent.is_ok, timeout=60)
            assert await names(agent.client, CILIUMNODE) == ["node-1"]
            server = await two_pods_talk(agent, one, two)
            with server:
                await west_is_imported(agent, west)
                await a_kill_interrupts_nothing(agent, west, lambda: connect(one.pod, address(server)))
            await agent.ask("/v1/endpoint/web-1", "DELETE")
            assert [endpoint["status"]["state"] for endpoint in await agent.ask("/v1/endpoint")] == ["ready"]
            assert agent.end(signal.SIGTERM) == 0
            assert "10.2.1.6/32" in agent.ipcache()  # nothing is drained on the way out


async def two_pods_talk(agent: AgentProcess, one: PodCable, two: PodCable) -> socket.socket:
    await agent.add_pod(one, "web-1")
    other = await agent.add_pod(two, "web-2")
    server = within(two.pod, lambda: socket.create_server((other, 8080)))
    connect(agent.node, other)  # as a kubelet's probe would come
    connect(one.pod, other)
    await eventually(lambda: published(agent.client, "web-1"))
    return server


async def west_is_imported(agent: AgentProcess, west: EtcdBackend) -> None:
    assert not await agent.peers_programmed()
    await WEST.publish(west)
    await eventually(agent.peers_programmed, timeout=30)
    entries = agent.ipcache()
    assert entries["10.2.1.5/32"] == (WEST.identity, WEST.node_ip)
    assert entries["10.2.1.1/32"] == (6, WEST.node_ip)
    assert entries[f"{NODE_IP}/32"] == entries["10.1.1.1/32"] == (1, None)


async def a_kill_interrupts_nothing(
    agent: AgentProcess, west: EtcdBackend, check: Callable[[], None]
) -> None:
    before = agent.ipcache()
    agent.end(signal.SIGKILL)
    check()
    await west.delete(keys.synced_key(Kind.IPS, "west"))
    await west.delete(WEST.prefix(Kind.IPS) + b"10.2.1.5")
    agent.start()
    await eventually(agent.is_ok, timeout=60)
    await eventually(lambda: synced(agent, 3))
    assert agent.ipcache() == before  # west has not said yet which addresses it has: none may go
    check()
    await WEST.canary(west, Kind.IPS)
    await eventually(agent.peers_programmed)
    assert before.keys() - agent.ipcache().keys() == {"10.2.1.5/32"}


async def synced(agent: AgentProcess, kinds: int) -> bool:
    (west,) = (await agent.status())["cluster-mesh"]["clusters"]
    return bool(sum(west.get("synced", {}).values()) == kinds)


async def published(client: Client, name: str) -> bool:
    return name in await names(client, CILIUMENDPOINT, "shop")


def address(server: socket.socket) -> str:
    return str(server.getsockname()[0])


def connect(source: str, address: str) -> None:
    """Open a connection from a namespace; the backlog answers, nobody needs to accept."""
    within(source, lambda: socket.create_connection((address, 8080), timeout=5)).close()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--cluster-name=Bad_Name", "--cluster-id=1"], "Bad_Name"),
        (["--cluster-name=east", "--cluster-id=-1"], "not -1"),
        (["--cluster-name=east", "--cluster-id=0"], "between 1 and 255 in a mesh, not 0"),
        (["--cluster-name=east", "--cluster-id=256"], "between 1 and 255 in a mesh, not 256"),
        (["--cluster-name=east", "--cluster-id=1", "--max-connected-clusters=300"], "255 or 511"),
        (["--cluster-name=east", "--cluster-id=1", "--node-ip=fd00::1"], "not an IPv4 address"),
        (["--cluster-name=east", "--cluster-id=1", "--no-such-flag"], "no-such-flag"),
        (["--cluster-id=1"], "cluster-name"),
        (["--cluster-name=east", "--cluster-id=1", "--kubeconfig=/no/such/file"], "/no/such/file"),
    ],
)
def test_wrong_settings_are_refused_with_one_clear_line(arguments: list[str], reason: str) -> None:
    command = [sys.executable, "-m", "agent", *arguments]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CLUSTERMESH_") and k != "KUBECONFIG"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=clean)
    assert done.returncode != 0
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
