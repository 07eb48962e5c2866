"""`bench datapath`: pod to remote pod through the overlay, beside the same load over plain routed veth; and
what a client outside gets at node ports, beside the same from a process of a node (`nodeport.py`).

Two clusters of the lab, one pod in each; the floor is two namespaces with a router between them. Load and
server are the same Python program at both ends of every path. The hook's cost is that of a UDP connect(),
which sends nothing, in the pod and outside of every hooked cgroup.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from bench import nodeport
from bench.figure import Figure, figure
from bench.place import PORT, SETTLE_SECONDS, Place, reuse_ports, serving
from k8s.resource import POD
from lab.demo.driver import Driver
from lab.demo.objects import NAMESPACE, SLEEP_IMAGE, Object, deployment, service
from mesh.ip import is_ip

DISCARD = 9  # UDP: nobody listens, and nothing is sent


async def measure(folder: Path, *, seconds: float, runs: int) -> list[Figure]:
    async with _plain(folder) as plain, _pods() as (pod, virtual, lab):
        rows = {
            "TCP stream": [(await pod.run("stream", seconds), await plain.run("stream", seconds))],
            "connect and request": [],
            "connect and request, by the service": [],
            "connections": [],
            "connect() of an address without a service": [],
            "connect() of a service": [],
        }
        rows["TCP stream"].clear()  # the first one warmed up
        for _ in range(runs):
            for name, kind, address, port in (
                ("TCP stream", "stream", pod.address, PORT),
                ("connect and request", "request", pod.address, PORT),
                ("connect and request, by the service", "request", virtual, 80),
                ("connections", "connect", virtual, 80),
                ("connect() of an address without a service", "udp", pod.address, DISCARD),
                ("connect() of a service", "udp", virtual, DISCARD),
            ):
                ours = await pod.run(kind, seconds, address, port)
                floor = await plain.run(kind, seconds, port=DISCARD if kind == "udp" else PORT)
                rows[name].append((ours, floor))
        outside = await nodeport.measure(folder, lab, seconds=seconds, runs=runs)
    return [*(_figure(name, pairs) for name, pairs in rows.items()), *outside]


def _figure(name: str, pairs: Sequence[tuple[float, float]]) -> Figure:
    scale, unit = {
        "TCP stream": (8e-9, "Gbit/s"),
        "connections": (1.0, "/s"),
        "connect and request": (1.0, "µs"),
        "connect and request, by the service": (1.0, "µs"),
    }.get(name, (1e-3, "µs"))
    ours, floors = [one * scale for one, _ in pairs], [one * scale for _, one in pairs]
    return figure(f"pod to remote pod: {name}", ours, unit, floors=floors)


@asynccontextmanager
async def _plain(folder: Path) -> AsyncGenerator[Place]:
    with _routed() as (client, server, address):
        async with serving(server, folder / "plain.log"):
            reuse_ports("ip", "netns", "exec", client)
            yield Place(("ip", "netns", "exec", client), address)


@contextmanager
def _routed() -> Iterator[tuple[str, str, str]]:
    """Two namespaces and a router between them: their names and the server's address.

    Not named like a lab's: `lab up` removes what carries its own name.
    """
    names = [f"plain{os.getpid()}-{what}" for what in ("client", "router", "server")]
    with ExitStack() as undo:
        for name in names:
            _ip("netns", "add", name)
            undo.callback(_ip, "netns", "del", name)
            _ip("-n", name, "link", "set", "lo", "up")
        for number, name in ((1, names[0]), (2, names[2])):
            _ip("-n", names[1], "link", "add", f"to{number}", "type", "veth", "peer", "eth0", "netns", name)
            for where, device, last in ((names[1], f"to{number}", 1), (name, "eth0", 2)):
                _ip("-n", where, "addr", "add", f"192.0.2.{number * 16 + last}/28", "dev", device)
                _ip("-n", where, "link", "set", device, "mtu", "1450", "up")
            _ip("-n", name, "route", "add", "default", "via", f"192.0.2.{number * 16 + 1}")
        forward = ("ip", "netns", "exec", names[1], "sysctl", "-qw", "net.ipv4.ip_forward=1")
        subprocess.run(forward, check=True)
        yield names[0], names[2], "192.0.2.34"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@asynccontextmanager
async def _pods() -> AsyncGenerator[tuple[Place, str, Driver]]:
    """A client in east and the server's own address in west, its service's in east, and their lab."""
    name = f"bench{os.getpid()}"
    lab = Driver(name)
    try:
        await lab.command("lab", "--name", name, "up", "--nodes", "1")
        for cluster in ("east", "west"):
            await lab.command("enable", "--context", cluster, "--wait")
        await lab.command("connect", "--context", "east", "--destination-context", "west")
        await lab.apply("west", _server(), _service())
        await lab.apply("east", _service(), deployment("client", replicas=1, image=SLEEP_IMAGE))
        (client,) = await lab.wait_pods("east", "client", 1)
        (server,) = await lab.wait_pods("west", "load", 1)
        await lab.command("status", "--context", "east", "--wait", "--wait-duration", "60s")
        enter = (sys.executable, "-m", "cli", "lab", "--name", name, "exec", "east", client, "--")
        reuse_ports(*enter)
        place = Place(enter, await _address(lab, server))
        virtual = await lab.cluster_ip("east", "load")
        await _answers(place, virtual)
        yield place, virtual, lab
    finally:
        await asyncio.shield(lab.command("lab", "--name", name, "down"))


async def _answers(place: Place, virtual: str) -> None:
    """Once the service leads to the pod: its backends come the whole way."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            try:
                await place.run("connect", 0.1, virtual, 80)
            except RuntimeError:
                await asyncio.sleep(0.5)
            else:
                return


async def _address(lab: Driver, pod: str) -> str:
    async with lab.kubernetes("west") as client:
        raw = await client.get(POD, pod, NAMESPACE)
    address = str(msgspec.json.decode(raw or b"{}")["status"]["podIP"])
    assert is_ip(address)
    return address


def _server() -> Object:
    made = deployment("load", replicas=1)
    (container,) = made["spec"]["template"]["spec"]["containers"]
    container["command"] = [sys.executable, "-m", "bench.load", "serve", str(PORT)]
    container["ports"] = [{"name": "http", "containerPort": PORT, "protocol": "TCP"}]
    container["readinessProbe"] = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
    return made


def _service() -> Object:
    made = service("load")
    made["spec"]["ports"][0]["nodePort"] = nodeport.NODE_PORT
    made["spec"]["ports"].append(
        {"name": "discard", "port": DISCARD, "targetPort": DISCARD, "protocol": "UDP"}
    )
    return made | {"spec": made["spec"] | {"type": "NodePort"}}
