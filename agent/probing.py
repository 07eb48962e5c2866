"""Probes the nodes behind remote backends and withdraws what is behind silent ones.

A probe is a TCP connection: accepted or refused, the node answers. It goes to the node and, where the node
tells of one, to its health endpoint at the same time, at its address of each family that we have: that is
behind the data path, as pods are. Decisions
are `agent.nodehealth`'s. What is withdrawn goes to the services table, which keeps it while a service has
nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from agent import healthaddress
from agent.ipam import Addresses
from agent.ipcache import IPCacheEntry, host_prefix
from agent.nodehealth import (
    TIMEOUT_SHARE,
    Answer,
    ClusterHealth,
    NodeHealth,
    NodeHealths,
    interval,
    patience,
)
from agent.tables import Tables
from mesh.addressing import ReservedIdentity
from mesh.node import Node

log = logging.getLogger(__name__)

JITTER = 0.1  # of the interval, either way: nodes that start together do not probe together
AT_ONCE = 256  # nodes: each is a socket, or two or three
IDLE_SECONDS = 1.0  # between looks for nodes to probe while there are none


@dataclass(frozen=True, slots=True)
class Mesh:
    """What the probing must know of peers, asked for anew in every round."""

    nodes: Callable[[Collection[str]], Mapping[str, Node]]  # peers' nodes that have one of these addresses
    lost: Callable[[], Collection[str]]  # clusters whose control plane is lost


class Probing:
    """`run` is its task. `silence` is how long a node is silent before it counts as lost, in seconds. `ipv6`:
    whether this node has such an address to ask from."""

    def __init__(self, tables: Tables, mesh: Mesh, *, port: int, silence: float, ipv6: bool = False) -> None:
        self._tables = tables
        self._mesh = mesh
        self._port = port
        self._silence = silence
        self._healths = NodeHealths()
        self._withdrawn: dict[str, str] = {}
        self._behind: dict[str, str] = {}  # remote backend -> node
        self._ipv6 = ipv6
        self._health: dict[str, Addresses] = {}  # node -> its health addresses
        self._seen = -1  # the tables' revision of `_behind`
        self._open = asyncio.Semaphore(AT_ONCE)

    @property
    def withdrawn(self) -> Mapping[str, str]:
        """Nodes whose backends are not used, and why."""
        return dict(self._withdrawn)

    @property
    def health_addresses(self) -> Mapping[str, Addresses]:
        """Those that are asked, by node."""
        return dict(self._health)

    @property
    def nodes(self) -> Mapping[str, NodeHealth]:
        """Every node that is probed, by address."""
        return self._healths.nodes

    def status(self, cluster: str) -> ClusterHealth:
        nodes = {ip: node for ip, node in self._healths.nodes.items() if node.cluster == cluster}
        gone = {address: reason for address, reason in self._withdrawn.items() if address in nodes}
        return ClusterHealth(
            self._healths.data_plane(cluster, gone),
            len(nodes),
            gone,
            sum(self._behind.get(ip) in gone for ip in self._tables.services.withdrawn),
            Counter(node.state for node in nodes.values()),
            Counter(endpoint.state for node in nodes.values() for endpoint in node.endpoints),
        )

    async def run(self) -> None:
        """Rounds, each with one probe of every node, spread over the round."""
        loop = asyncio.get_running_loop()
        while True:
            self._look()
            nodes = list(self._healths.nodes)
            pause = interval(self._silence, len(nodes)) if nodes else IDLE_SECONDS
            pause *= random.uniform(1 - JITTER, 1 + JITTER)
            end, limit = loop.time() + pause, patience(pause)
            async with asyncio.TaskGroup() as group:
                for number, address in enumerate(nodes):
                    start = (1 - TIMEOUT_SHARE) * pause * number / len(nodes)
                    group.create_task(self._probe(address, start, limit), name=f"probe/{address}")
            self._decide()
            await asyncio.sleep(max(0.0, end - loop.time()))

    async def _probe(self, address: str, start: float, limit: float) -> None:
        await asyncio.sleep(start)
        async with self._open:
            answer, endpoint, endpoint6 = await self._asked(address, limit)
        self._healths.probed(address, answer, endpoint, endpoint6)
        if not answer.came:
            self._decide()

    async def _asked(self, address: str, limit: float) -> tuple[Answer, Answer | None, Answer | None]:
        """What the node came to, and the addresses of its health endpoint that it has."""
        health = self._health.get(address, Addresses())
        return await asyncio.gather(
            _timed(address, self._port, limit), _endpoint(health.ipv4, limit), _endpoint(health.ipv6, limit)
        )

    def _look(self) -> None:
        """Which nodes are behind remote backends now. After a restart the kernel's entries say so before
        any peer has said whose they are."""
        if self._seen == self._tables.clock.revision and self._healths.are_placed:
            return
        self._seen = self._tables.clock.revision
        entries = self._tables.ipcache.wanted.entries
        self._behind = {
            ip: entry.tunnel
            for ip in self._tables.services.remote_backends()
            if (entry := entries.get(host_prefix(ip))) is not None and entry.tunnel
        }
        addresses = set(self._behind.values())
        known = self._mesh.nodes(addresses)
        self._health = {address: self._health_of(node, address) for address, node in known.items()}
        self._healths.keep({ip: known[ip].cluster if ip in known else "" for ip in addresses})
        self._publish()

    def _health_of(self, node: Node, address: str) -> Addresses:
        """Those that the data path takes for that node's health endpoint: a peer may say anything."""
        entries = self._tables.ipcache.wanted.entries
        told = (node.ipv4_health_ip, node.ipv6_health_ip if self._ipv6 else "")
        return Addresses(
            *(ip if ip and _leads_to(entries.get(host_prefix(ip)), address) else "" for ip in told)
        )

    def _decide(self) -> None:
        before, self._withdrawn = self._withdrawn, self._healths.withdrawn(self._mesh.lost())
        if before.keys() == self._withdrawn.keys():
            return
        for address in self._withdrawn.keys() - before.keys():
            log.warning("backends behind node %s are withdrawn: %s", address, self._withdrawn[address])
        for address in before.keys() - self._withdrawn.keys():
            log.info("backends behind node %s are back", address)
        self._publish()

    def _publish(self) -> None:
        gone = frozenset(ip for ip, node in self._behind.items() if node in self._withdrawn)
        self._tables.services.set_withdrawn(gone)


def _leads_to(entry: IPCacheEntry | None, node: str) -> bool:
    return entry is not None and (entry.identity, entry.tunnel) == (ReservedIdentity.HEALTH, node)


async def _endpoint(address: str, limit: float) -> Answer | None:
    return await _timed(address, healthaddress.PORT, limit) if address else None


async def _timed(address: str, port: int, limit: float) -> Answer:
    begun = time.monotonic()
    came = await answers(address, port, limit)
    return Answer(came, time.monotonic() - begun)


async def answers(address: str, port: int, limit: float) -> bool:
    """Whether a node answers a connection within `limit` seconds; a refusal is an answer."""
    try:
        async with asyncio.timeout(limit):
            _, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        return True
    except (OSError, TimeoutError):
        return False
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(limit):
            await writer.wait_closed()
    return True
