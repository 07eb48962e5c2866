"""Every node is probed at its own address and at its health endpoint, which is behind the data path."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec

from agent.ipcache import host_prefix
from aiokit.wait import eventually
from e2e.conftest import Mesh
from e2e.test_withdrawal import workers
from lab.demo.driver import Driver
from lab.plan import NodePlan
from mesh.addressing import ReservedIdentity

SOON = 20.0
FINE = ["reachable", "reachable", "reachable"]  # the node, its health endpoint of IPv4 and of IPv6
CUT = ["reachable", "silent", "silent"]


async def test_a_node_that_answers_while_its_data_path_is_cut_is_told_apart(mesh: Mesh) -> None:
    await mesh.spread()  # nodes are probed that have backends
    east, west = workers(mesh.plan, "east"), workers(mesh.plan, "west")
    for nodes, peers in ((east, west), (west, east)):
        for node in nodes:
            await eventually(partial(sees, mesh.lab, node, dict.fromkeys(map(named, peers), FINE)), SOON, 0.1)
    peer, other = west
    [entry] = [
        each
        for each in (await said(mesh.lab, east[0], "node", "list"))["nodes"]
        if each["name"] == named(peer)
    ]
    known = (await said(mesh.lab, east[0], "bpf", "ipcache", "list"))["entries"]
    for address in entry["health-endpoint-address"].values():
        [found] = [each for each in known if each["key"] == host_prefix(address)]
        assert (found["identity"], found["tunnel-endpoint"]) == (ReservedIdentity.HEALTH, str(peer.ip))
    with tunnel_cut(east[0], peer):
        await eventually(partial(sees, mesh.lab, east[0], {named(peer): CUT, named(other): FINE}), SOON, 0.1)
        assert await sees(mesh.lab, east[1], {named(peer): FINE, named(other): FINE})
    await eventually(partial(sees, mesh.lab, east[0], {named(peer): FINE, named(other): FINE}), SOON, 0.1)


def named(node: NodePlan) -> str:
    return f"{node.cluster}/{node.name}"


async def sees(lab: Driver, node: NodePlan, wanted: dict[str, list[str]]) -> bool:
    """Whether that node's agent says this of its peers' nodes: of each, and of its health endpoint."""
    nodes = (await said(lab, node, "status")).get("node-health", {}).get("nodes", [])
    keys = ("health-endpoint", "health-endpoint-ipv6")
    found = {
        each["name"]: [each["state"], *((each[key] or {}).get("state") for key in keys)] for each in nodes
    }
    return {name: found.get(name) for name in wanted} == wanted


async def said(lab: Driver, node: NodePlan, *command: str) -> Any:
    socket = lab.paths.node(node).agent_socket
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.dbg", "--host", str(socket), *command, "-o", "json"),
        stdout=asyncio.subprocess.PIPE,
    )
    text, _ = await asyncio.wait_for(process.communicate(), 30)
    return msgspec.json.decode(text or b"{}")


@contextmanager
def tunnel_cut(node: NodePlan, peer: NodePlan) -> Iterator[None]:
    """Nothing goes from one node into the tunnel to the other; whatever else passes."""
    rule = ("to", f"{peer.ip}/32", "ipproto", "udp", "dport", "8472", "blackhole")
    ip(node, "rule", "add", *rule)
    try:
        yield
    finally:
        ip(node, "rule", "del", *rule)


def ip(node: NodePlan, *command: str) -> None:
    subprocess.run(["ip", "-n", node.namespace, *command], check=True, timeout=10)
